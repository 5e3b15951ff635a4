import type { Cell, HeaderValue, ReplyMessage } from '@hanse/cellnet'
import { type AbortOptions, type Clock, type Logger, messageOf } from '@hanse/contract'
import { abortableDelay } from '../abortable-delay.ts'
import type { Credentials } from '../authentication/stamps.ts'
import type { ParticipantKind } from '../authentication/token.ts'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import {
  CELL_HEADER,
  CHANNEL,
  FEDERATION_PROTOCOL_VERSION,
  NO_SSID,
  SERVER_CELL,
} from '../names.ts'
import { SessionError } from '../session-error.ts'
import { type ProofSigner, type ProofVerifier, type ProvenIdentity, proofText } from './proofs.ts'

export interface LoginComponents {
  readonly cell: Cell
  readonly signer: ProofSigner
  readonly verifier: ProofVerifier
  readonly clock: Clock
  readonly logger: Logger
}

export interface LoginOptions extends AbortOptions {
  readonly kind: ParticipantKind
  readonly project: string
  /** Common name that the server's certificate must carry. */
  readonly serverIdentity: string
  /** What `nvflare_version` says of us. */
  readonly software: string
  /** Public properties that the server is told; `spec/session.md` §1.4. */
  readonly publicProperties: ReadonlyMap<string, string | boolean>
  /** Facts about a site for the server and its jobs; an allow-list, never a whole file. */
  readonly siteConfig?: ReadonlyMap<string, HeaderValue> | undefined
  readonly messageTimeoutMs?: number
  readonly retryIntervalMs?: number
}

/** A proven server and what it issued. */
export interface Login {
  readonly credentials: Credentials
  readonly server: ProvenIdentity
}

const WIRE_KIND = { site: 'regular', admin: 'admin', relay: 'relay' } as const
/** A server that forgets this often does not want us. */
const MAX_FORGOTTEN = 3
const UNREACHABLE: ReadonlySet<string> = new Set(['target_unreachable', 'comm_error', 'timeout'])

/**
 * Mutual login (`spec/session.md` §2): the server proves itself over our nonce before it learns anything, then we
 * prove ourselves over its nonce. While the server is not there, tries again until the signal fires.
 * @throws {SessionError} `ERR_SERVER_IDENTITY`, `ERR_LOGIN_REFUSED`, `ERR_LOGIN_PROTOCOL`
 */
export async function login(components: LoginComponents, options: LoginOptions): Promise<Login> {
  for (let forgotten = 0; ; ) {
    const challenge = await requestChallenge(components, options)
    const server = await verifyServer(components, options, challenge)
    const reply = await requestRegistration(components, options, challenge.serverNonce)
    const wasForgotten = isForgotten(reply)
    if (wasForgotten) forgotten += 1
    if (!UNREACHABLE.has(reply.returnCode) && (!wasForgotten || forgotten > MAX_FORGOTTEN))
      return { credentials: await readCredentials(components, challenge, reply), server }
    // A nonce is good for one attempt: start over.
    await abortableDelay(components.clock, options.retryIntervalMs ?? 2_000, options)
  }
}

/** The server was started anew, or lost our challenge otherwise, before our registration came. */
function isForgotten({ returnCode, error }: ReplyMessage): boolean {
  return returnCode === 'unauthenticated' && error?.startsWith('no registration session') === true
}

interface Challenge {
  readonly ownNonce: string
  readonly serverNonce: string
  readonly name: string
  readonly certificateChain: string
  readonly signature: Uint8Array
}

async function requestChallenge(
  { cell, signer, clock, logger }: LoginComponents,
  options: LoginOptions,
): Promise<Challenge> {
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted()
    const ownNonce = crypto.randomUUID()
    const reply = await cell.request(SERVER_CELL, CHANNEL.task, 'challenge', null, {
      timeoutMs: options.messageTimeoutMs ?? 30_000,
      headers: { cn: signer.name, nonce: ownNonce },
      signal: options.signal,
    })
    if (reply.returnCode === 'ok') return readChallenge(ownNonce, reply)
    if (!UNREACHABLE.has(reply.returnCode)) throw refused('challenge', reply)
    if (attempt === 1)
      logger.info('waiting for the server', { reason: reply.error ?? reply.returnCode })
    await abortableDelay(clock, options.retryIntervalMs ?? 2_000, options)
  }
}

function readChallenge(ownNonce: string, reply: ReplyMessage): Challenge {
  const { body } = reply
  if (!(body instanceof Shareable)) throw malformed('challenge', 'its body is not a Shareable')
  const serverNonce = body.content.get('nonce')
  const name = body.content.get('cn')
  const certificate = body.content.get('cert')
  const signature = body.content.get('signature')
  if (
    typeof serverNonce !== 'string' ||
    typeof name !== 'string' ||
    !(certificate instanceof Uint8Array) ||
    !(signature instanceof Uint8Array)
  )
    throw malformed('challenge', 'nonce, cn, cert or signature is missing or of another type')
  const certificateChain = new TextDecoder().decode(certificate)
  return { ownNonce, serverNonce, name, certificateChain, signature }
}

async function verifyServer(
  { verifier }: LoginComponents,
  options: LoginOptions,
  challenge: Challenge,
): Promise<ProvenIdentity> {
  if (challenge.name !== options.serverIdentity)
    throw new SessionError(
      'ERR_SERVER_IDENTITY',
      `the server calls itself '${challenge.name}', this kit expects '${options.serverIdentity}'; check the address it dials`,
    )
  try {
    return await verifier.verify({
      certificateChain: challenge.certificateChain,
      expectedName: options.serverIdentity,
      usage: 'server',
      signed: proofText(challenge.name, challenge.ownNonce),
      signature: challenge.signature,
    })
  } catch (cause) {
    throw new SessionError(
      'ERR_SERVER_IDENTITY',
      `the server did not prove that it is '${options.serverIdentity}': ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
}

async function requestRegistration(
  { cell, signer }: LoginComponents,
  options: LoginOptions,
  serverNonce: string,
): Promise<ReplyMessage> {
  const body = new Shareable()
  body.headers.set('__peer_ctx__', FLContext.ofPublic(options.publicProperties))
  body.content.set('cn', signer.name)
  body.content.set('cert', new TextEncoder().encode(signer.certificateChain))
  body.content.set('signature', await signer.sign(proofText(signer.name, serverNonce)))
  if (options.siteConfig !== undefined) body.content.set('site_config', new Map(options.siteConfig))
  return cell.request(SERVER_CELL, CHANNEL.task, 'register', body, {
    timeoutMs: options.messageTimeoutMs ?? 30_000,
    headers: {
      [CELL_HEADER.clientName]: signer.name,
      [CELL_HEADER.clientType]: WIRE_KIND[options.kind],
      [CELL_HEADER.clientIp]: '127.0.0.1',
      [CELL_HEADER.projectName]: options.project,
      [CELL_HEADER.protocolVersion]: FEDERATION_PROTOCOL_VERSION,
      [CELL_HEADER.softwareVersion]: options.software,
    },
    signal: options.signal,
  })
}

async function readCredentials(
  { signer, verifier }: LoginComponents,
  challenge: Challenge,
  reply: ReplyMessage,
): Promise<Credentials> {
  if (reply.returnCode !== 'ok') throw refused('register', reply)
  if (!(reply.body instanceof Map)) throw malformed('register', 'its body is not a map')
  const token = reply.body.get('__token__')
  const tokenSignature = reply.body.get('__token_signature__')
  const ssid = reply.body.get('ssid')
  if (typeof token !== 'string' || typeof tokenSignature !== 'string')
    // A stock server says so, and nothing else, when the certificate does not fit; spec/session.md §2.3 row 7.
    throw new SessionError(
      'ERR_LOGIN_REFUSED',
      `the server did not accept the certificate of '${signer.name}'; is this kit of the same league, and still valid?`,
    )
  try {
    await verifier.verify({
      certificateChain: challenge.certificateChain,
      expectedName: challenge.name,
      usage: 'server',
      signed: proofText(signer.name, token),
      signature: Uint8Array.fromBase64(tokenSignature),
    })
  } catch (cause) {
    throw malformed('register', `the token's signature does not hold: ${messageOf(cause)}`, cause)
  }
  return {
    name: signer.name,
    token,
    tokenSignature,
    ssid: typeof ssid === 'string' ? ssid : NO_SSID,
  }
}

function refused(step: string, reply: ReplyMessage): SessionError {
  return new SessionError(
    'ERR_LOGIN_REFUSED',
    `the server refused the ${step}: ${reply.error ?? reply.returnCode}`,
    { returnCode: reply.returnCode },
  )
}

function malformed(step: string, what: string, cause?: unknown): SessionError {
  return new SessionError(
    'ERR_LOGIN_PROTOCOL',
    `the server's answer to ${step} cannot be used: ${what}`,
    {},
    { cause },
  )
}
