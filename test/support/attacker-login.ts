import { randomUUID } from 'node:crypto'
import { coreCodecs, createFobsRegistry, decodeWhole, encode, joinBytes } from '@hanse/fobs'
import { type Identity, loginSigner } from '@hanse/pki'
import {
  adminCodecs,
  CELL_HEADER,
  CHANNEL,
  FLContext,
  PEOPLE,
  platformCodecs,
  proofText,
  readCommandReply,
  Shareable,
  writeCommandRequest,
} from '@hanse/session'
import type { AttackerPeer, AttackerReply } from './attacker-peer.ts'

export const registry = createFobsRegistry(coreCodecs, platformCodecs, adminCodecs)

export function fobs(value: unknown): Uint8Array {
  return joinBytes(encode(value, registry).parts)
}

export function fromFobs(bytes: Uint8Array): unknown {
  return decodeWhole(bytes, registry)
}

/** What may be said otherwise than an honest peer would. */
export interface LoginLies {
  readonly clientName?: string
  readonly clientType?: string
  readonly project?: string
  readonly origin?: string
  /** Certificate shown at login, instead of the own one. */
  readonly certificateChain?: string
}

/** A message as it went over the wire, to be sent again. */
export interface Recording {
  readonly headers: Readonly<Record<string, unknown>>
  readonly payload: Uint8Array
}

export interface AttackerLogin {
  readonly reply: AttackerReply
  readonly recording: Recording
  /** Headers that prove who sends; empty if the login was refused. */
  readonly stamp: Readonly<Record<string, string>>
}

/** Asks for the server's nonce. */
export async function challenge(peer: AttackerPeer, origin = peer.name): Promise<string> {
  const { returnCode, error, payload } = await peer.request({
    cn__channel: CHANNEL.task,
    cn__topic: 'challenge',
    cn__origin: origin,
    cn: 'anybody',
    nonce: randomUUID(),
  })
  if (returnCode !== 'ok') throw new Error(`no challenge: ${returnCode} ${error}`)
  return String((fromFobs(payload) as Shareable).content.get('nonce'))
}

/** Registers over a nonce of the server, with the given lies. */
export async function register(
  peer: AttackerPeer,
  identity: Identity,
  nonce: string,
  lies: LoginLies = {},
): Promise<AttackerLogin> {
  const signer = loginSigner(identity)
  const clientName = lies.clientName ?? identity.name
  const body = new Shareable()
  body.headers.set('__peer_ctx__', FLContext.ofPublic(new Map()))
  body.content.set('cn', clientName)
  body.content.set(
    'cert',
    new TextEncoder().encode(lies.certificateChain ?? signer.certificateChain),
  )
  body.content.set('signature', signer.sign(proofText(clientName, nonce)))
  const headers = {
    cn__channel: CHANNEL.task,
    cn__topic: 'register',
    cn__origin: lies.origin ?? peer.name,
    [CELL_HEADER.clientName]: clientName,
    [CELL_HEADER.clientType]:
      lies.clientType ?? (identity.role === undefined ? 'regular' : 'admin'),
    [CELL_HEADER.projectName]: lies.project ?? 'test_league',
    [CELL_HEADER.softwareVersion]: 'attacker',
  }
  const recording = { headers, payload: fobs(body) }
  const reply = await peer.request(headers, recording.payload)
  return { reply, recording, stamp: stampOf(clientName, reply) }
}

/** A whole login; honest but for the lies. */
export async function logIn(
  peer: AttackerPeer,
  identity: Identity,
  lies: LoginLies = {},
): Promise<AttackerLogin> {
  return register(peer, identity, await challenge(peer), lies)
}

/** Opens a session as a person, over a peer that has registered; also what was sent, to send it again. */
export async function openAttackerSession(
  peer: AttackerPeer,
  identity: Identity,
  stamp: Readonly<Record<string, string>>,
): Promise<{ readonly text: string; readonly token: string; readonly recording: Recording }> {
  const signer = loginSigner(identity)
  const headers = {
    ...stamp,
    cn__channel: PEOPLE.channel,
    cn__topic: PEOPLE.commandTopic,
    user_name: identity.name,
    cert: new TextEncoder().encode(signer.certificateChain),
    signature: signer.sign(proofText(identity.name, '')),
    study: 'default',
  }
  const recording = { headers, payload: commandText(`_cert_login ${identity.name}`, undefined) }
  const { payload, returnCode, error } = await peer.request(headers, recording.payload)
  const text = returnCode === 'ok' ? String(fromFobs(payload)) : `${returnCode} ${error}`
  return { text, token: tokenIn(text), recording }
}

/** Gives a command over a raw peer and returns the text of the reply. */
export async function command(
  peer: AttackerPeer,
  stamp: Readonly<Record<string, string>>,
  text: string,
  token: string | undefined,
): Promise<string> {
  const headers = { ...stamp, cn__channel: PEOPLE.channel, cn__topic: PEOPLE.commandTopic }
  const { payload, returnCode, error } = await peer.request(headers, commandText(text, token))
  return returnCode === 'ok' ? String(fromFobs(payload)) : `${returnCode}: ${error}`
}

function commandText(text: string, token: string | undefined): Uint8Array {
  return fobs(writeCommandRequest({ command: text, token, meta: {} }, new Date()))
}

function tokenIn(text: string): string {
  if (!text.startsWith('{')) return ''
  const item = readCommandReply(text).items.find(({ type }) => type === 'token')
  return item !== undefined && 'data' in item ? String(item.data) : ''
}

function stampOf(name: string, { returnCode, payload }: AttackerReply): Record<string, string> {
  if (returnCode !== 'ok') return {}
  const body = fromFobs(payload) as Map<string, string>
  return {
    [CELL_HEADER.clientName]: name,
    [CELL_HEADER.token]: String(body.get('__token__')),
    [CELL_HEADER.tokenSignature]: String(body.get('__token_signature__')),
    [CELL_HEADER.ssid]: 'NA',
  }
}
