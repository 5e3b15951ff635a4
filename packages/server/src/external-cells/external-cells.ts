import { HEADER, type IncomingFilter, type PeerLink, purposeOf, textHeader } from '@hanse/cellnet'
import type { ExternalCellPolicy } from '@hanse/provision'
import {
  type Applicant,
  CHANNEL,
  isExternalCell,
  SERVER_CELL,
  type TokenClaims,
} from '@hanse/session'

export interface ExternalCellsComponents {
  /** By cell; who is not in it does not come in. */
  readonly policies: ReadonlyMap<string, ExternalCellPolicy>
  onRefused(facts: {
    readonly link: PeerLink
    readonly target: string
    readonly reason: string
  }): void
}

/**
 * Programs outside Hanse that joined with a kit. They speak only for themselves, always with message proofs, and only
 * what this server's `external_cells` grants; nobody else speaks to them or in their name.
 */
export class ExternalCells {
  readonly #components: ExternalCellsComponents
  /** Which login holds a cell. */
  readonly #sessions = new Map<string, string>()

  constructor(components: ExternalCellsComponents) {
    this.#components = components
  }

  /** Why a cell of this name may not connect; `undefined` for all that are not external. */
  unwelcome(cell: string): string | undefined {
    if (!isExternalCell(cell) || this.#components.policies.has(cell)) return undefined
    return `this server lets in no external cell '${cell}': its admin names those it takes under external_cells in local/hanse.json`
  }

  /** Why a proven applicant is refused. */
  refusal({ cell, link }: Applicant): string | undefined {
    if (link?.fqcn !== cell) return 'an external cell logs in over a link of its own'
    if (!link.proofs.active) return 'an external cell must prove where each message comes from'
    return this.unwelcome(cell)
  }

  entered({ cell, nonce }: TokenClaims): void {
    this.#sessions.set(cell, nonce)
  }

  linkLost(cell: string): void {
    this.#sessions.delete(cell)
  }

  /** Why claims that were once good no longer hold. */
  objection({ cell, nonce }: TokenClaims): string | undefined {
    return this.#sessions.get(cell) === nonce
      ? undefined
      : `'${cell}' has left or logged in again since this token was issued`
  }

  mayWatch(cell: string): boolean {
    return this.#components.policies.get(cell)?.watch === true
  }

  /** To be run after the check of tokens. */
  readonly filter: IncomingFilter = ({ headers, link }) => {
    if (link === undefined) return undefined
    const reason = this.#objectionTo(headers, link)
    if (reason === undefined) return undefined
    const purpose = purposeOf(headers)
    const what = purpose.kind === 'answer' ? 'answer' : `${purpose.channel}/${purpose.topic}`
    const target = `${textHeader(headers, HEADER.destination) ?? ''} ${what}`
    this.#components.onRefused({ link, target, reason })
    return { reject: 'unauthenticated', reason }
  }

  #objectionTo(headers: Parameters<typeof purposeOf>[0], link: PeerLink): string | undefined {
    const origin = textHeader(headers, HEADER.origin) ?? ''
    const destination = textHeader(headers, HEADER.destination) ?? ''
    if (!isExternalCell(link.fqcn)) {
      const { policies } = this.#components
      if (policies.has(origin)) return `'${link.fqcn}' does not speak for '${origin}'`
      return policies.has(destination)
        ? `'${destination}' hears from this server, and from external cells that may`
        : undefined
    }
    if (origin !== link.fqcn) return `'${link.fqcn}' does not speak for '${origin}'`
    const purpose = purposeOf(headers)
    const isAllowed =
      purpose.kind === 'answer'
        ? this.#mayAnswer(origin, destination)
        : this.#maySend(origin, destination, purpose)
    if (isAllowed) return undefined
    const what =
      purpose.kind === 'answer' ? 'answer' : `send ${purpose.channel}/${purpose.topic} to`
    return `'${origin}' may not ${what} '${destination}': this server's external_cells does not grant it`
  }

  #maySend(
    origin: string,
    destination: string,
    { channel, topic }: { readonly channel: string; readonly topic: string },
  ): boolean {
    if (destination === SERVER_CELL) return this.#mayTell(origin, channel, topic)
    const rules = this.#components.policies.get(origin)?.send ?? []
    return rules.some(
      (rule) =>
        rule.to === destination &&
        rule.channel === channel &&
        (rule.topics.includes(topic) || rule.topics.includes('*')),
    )
  }

  /** What every member must be able to say, and what was granted. */
  #mayTell(origin: string, channel: string, topic: string): boolean {
    if (channel === CHANNEL.task) return topic === 'challenge' || topic === 'register'
    if (channel === CHANNEL.cellnet) return topic === 'bye'
    return channel === CHANNEL.externalCells && topic === 'watch' && this.mayWatch(origin)
  }

  #mayAnswer(origin: string, destination: string): boolean {
    const { policies } = this.#components
    const writes = (from: string, to: string) =>
      policies.get(from)?.send.some((rule) => rule.to === to) === true
    return destination === SERVER_CELL || writes(destination, origin) || writes(origin, destination)
  }
}
