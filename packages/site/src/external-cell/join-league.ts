import { type CellReply, type CellRequest, createCell, type ReplyMessage } from '@hanse/cellnet'
import type { AbortOptions, Clock, Logger } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { heartbeatOf, provenIdentities, type SiteKit } from '@hanse/provision/kit'
import {
  CHANNEL,
  externalCell,
  isExternalCell,
  participantStamp,
  platformCodecs,
  SERVER_CELL,
} from '@hanse/session'
import { ServerLink, type ServerLinkEvent } from '../link/server-link.ts'
import { SiteError } from '../site-error.ts'

export interface JoinLeagueComponents {
  /** Of a site, or one that was made for this program alone. */
  readonly kit: SiteKit
  readonly clock: Clock
  readonly logger: Logger
}

export interface JoinLeagueOptions extends AbortOptions {
  /** Tells the programs with one kit apart: letters, digits, `_` and `-`. */
  readonly id: string
  /** Name and version, for the server's record. */
  readonly software: string
  onEvent?(event: ServerLinkEvent): void
}

/** Values of messages: texts, numbers, booleans, bytes, arrays, and maps of these. */
export type MessageHandler = (body: unknown, from: string) => unknown

/** A program outside Hanse as a member of a league. Disposal leaves it in an orderly way. */
export interface ExternalCell extends AsyncDisposable {
  /** E.g. `site-1.-monitor`; what the server's `external_cells` must name. */
  readonly name: string
  /**
   * Serves requests of other external cells; what the handler returns is the answer. The server has let through only
   * what it grants, and `from` is proven.
   * @param channel `app.…`
   * @param topic `*` is any without a handler of its own
   */
  handle(channel: string, topic: string, handler: MessageHandler): void
  /** Asks another external cell. Failures are return codes with the reason; what is not granted is one, too. */
  request(
    to: string,
    channel: string,
    topic: string,
    body: unknown,
    options?: AbortOptions & { readonly timeoutMs?: number },
  ): Promise<Pick<ReplyMessage, 'returnCode' | 'error' | 'body'>>
  /**
   * Asks which sites and jobs there are, and hears of every change from then on. After a lost link it asks again by
   * itself; `onSnapshot` is then called anew.
   * @throws {SiteError} `ERR_SITE_REFUSED` if the server does not grant it
   */
  watch(
    onSnapshot: (snapshot: LeagueSnapshot) => void,
    onChange: (change: ReadonlyMap<string, string>) => void,
  ): Promise<void>
}

export interface LeagueSnapshot {
  readonly sites: readonly string[]
  readonly jobs: readonly string[]
}

const LONGEST_INTERVAL_MS = 2 ** 31 - 1
/** These programs exchange words and small numbers; models are what jobs are for. */
const MAX_BODY_BYTES = 8 * 1024 * 1024

/**
 * Lets a program outside Hanse join a league as a cell of its own, over one link to the server, on which every message
 * proves where it comes from. Waits for a server that is not there yet.
 * @throws {SiteError} `ERR_SITE_REFUSED`, `ERR_NAME_IN_USE`
 */
export async function joinLeague(
  { kit, clock, logger }: JoinLeagueComponents,
  { id, software, signal, onEvent = () => {} }: JoinLeagueOptions,
): Promise<ExternalCell> {
  const name = externalCell(kit.name, id)
  if (!isExternalCell(name) || id.includes('.'))
    throw new SiteError('ERR_SITE_REFUSED', `'${id}' cannot be the id of an external cell`)
  const socketOptions = { clock, logger, proxy: kit.hanse.outboundProxy?.url }
  const cell = createCell(
    name,
    {
      drivers: [tcp(socketOptions), http(socketOptions), grpc(socketOptions)],
      registry: createFobsRegistry(coreCodecs, platformCodecs),
      clock,
      logger,
    },
    {
      ownName: kit.name,
      identities: provenIdentities(kit),
      forwards: false,
      streams: { maxBodyBytes: MAX_BODY_BYTES },
      ...heartbeatOf(kit),
    },
  )
  const link = new ServerLink({ cell, kit, clock, logger, onEvent }, { kind: 'external' })
  cell.outgoing(participantStamp(name, () => link.credentials))
  // Timers of a clock let a process end; a member waits for its server, also while there is no link.
  const stay = setInterval(() => {}, LONGEST_INTERVAL_MS)
  const leave = async () => {
    clearInterval(stay)
    await link[Symbol.asyncDispose]()
    await cell[Symbol.asyncDispose]()
  }
  try {
    await link.login(new Map([['__identity_name__', kit.name]]), software, { signal })
  } catch (error) {
    await leave()
    throw error
  }

  return {
    name,
    handle: (channel, topic, handler) =>
      cell.handle(channel, topic, async ({ body, origin }) => ({
        body: await handler(body, origin),
      })),
    request: (to, channel, topic, body, options) => cell.request(to, channel, topic, body, options),
    async watch(onSnapshot, onChange) {
      cell.handle(CHANNEL.externalCells, 'change', (request) => takeChange(request, onChange))
      const ask = async () => {
        const reply = await cell.request(SERVER_CELL, CHANNEL.externalCells, 'watch', null)
        const { body, returnCode, error } = reply
        if (returnCode !== 'ok' || !(body instanceof Map))
          throw new SiteError(
            'ERR_SITE_REFUSED',
            `the server does not let '${name}' watch: ${error ?? returnCode}`,
          )
        onSnapshot({ sites: textsOf(body.get('sites')), jobs: textsOf(body.get('jobs')) })
      }
      link.onReconnected = () =>
        void ask().catch((error: unknown) => logger.warn('not watching any more', { error }))
      await ask()
    },
    async [Symbol.asyncDispose]() {
      await leave()
    },
  }
}

function takeChange(
  { body, origin }: CellRequest,
  onChange: (change: ReadonlyMap<string, string>) => void,
): CellReply {
  if (origin !== SERVER_CELL || !(body instanceof Map)) return { returnCode: 'invalid_request' }
  const change = new Map<string, string>()
  for (const [key, value] of body)
    if (typeof key === 'string' && typeof value === 'string') change.set(key, value)
  onChange(change)
  return {}
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}
