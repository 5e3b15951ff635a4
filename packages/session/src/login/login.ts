import {
  type Cell,
  type HeaderValue,
  type PeerLink,
  PROOF_CAPABILITY,
  type ReplyMessage,
} from '@hanse/cellnet'
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
import {
  clientProofText,
  type KeyShare,
  type KeyShareFactory,
  PROOF_FIELD,
  type ProofAnswer,
  type ProofOffer,
  RENEWED_TOKEN,
  readAnswer,
  sameTexts,
  serverProofText,
  TOKEN_SECONDS,
  transcriptBytes,
  writeOffer,
} from './key-agreement.ts'
import { type ProofSigner, type ProofVerifier, type ProvenIdentity, proofText } from './proofs.ts'

export interface LoginComponents {
  readonly cell: Cell
  readonly signer: ProofSigner
  readonly verifier: ProofVerifier
  readonly clock: Clock
  readonly logger: Logger
  /** The link to log in over, while there is one. Without this, the cell's own way to the server. */
  readonly link?: (() => PeerLink | undefined) | undefined
  /** For the proofs of links where both sides offer them. */
  readonly createKeyShare?: KeyShareFactory | undefined
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
  /** What to go on with: over a new link, or before it expires. The server then takes it for the same session. */
  readonly renews?: Credentials | undefined
  /** What this server is known to be capable of; one that offers less is refused as a downgrade. */
  readonly expectedCapabilities?: readonly string[] | undefined
  readonly messageTimeoutMs?: number
  readonly retryIntervalMs?: number
}

/** A proven server and what it issued. */
export interface Login {
  readonly credentials: Credentials
  readonly server: ProvenIdentity
  /** The link that was logged in over, to be opened once the credentials are in place. */
  readonly link: PeerLink | undefined
  /** Capabilities that the server proved to have; none of a stock server. */
  readonly capabilities: readonly string[]
  /** How long the token is good; `undefined`: as long as its heartbeats come. */
  readonly tokenLifetimeMs: number | undefined
}

const WIRE_KIND = { site: 'regular', admin: 'admin', relay: 'relay', external: 'external' } as const
/** A server that forgets this often does not want us. */
const MAX_FORGOTTEN = 3
const UNREACHABLE: ReadonlySet<string> = new Set(['target_unreachable', 'comm_error', 'timeout'])

/**
 * Mutual login (`spec/session.md` §2): the server proves itself over our nonce before it learns anything, then we
 * prove ourselves over its nonce. Where both ends of the link offer message proofs, the login agrees on their keys,
 * and the registration is the first message that carries one (`docs/security/messages.md`). While the server is not
 * there, tries again until the signal fires.
 * @throws {SessionError} `ERR_SERVER_IDENTITY`, `ERR_DOWNGRADE`, `ERR_LOGIN_REFUSED`, `ERR_LOGIN_PROTOCOL`
 */
export async function login(components: LoginComponents, options: LoginOptions): Promise<Login> {
  for (let forgotten = 0; ; ) {
    const challenge = await requestChallenge(components, options)
    const server = await verifyServer(components, options, challenge)
    const reply = await requestRegistration(components, options, challenge)
    const wasForgotten = isForgotten(reply)
    if (wasForgotten) forgotten += 1
    if (!UNREACHABLE.has(reply.returnCode) && (!wasForgotten || forgotten > MAX_FORGOTTEN))
      return {
        ...(await readRegistration(components, challenge, reply)),
        server,
        link: challenge.link,
        capabilities: challenge.proofs?.answer.capabilities ?? [],
      }
    // A nonce is good for one attempt, and so are keys: start over, on another link if this one has some.
    if (challenge.proofs !== undefined) await challenge.link?.connection[Symbol.asyncDispose]()
    await abortableDelay(components.clock, options.retryIntervalMs ?? 2_000, options)
  }
}

/** The server was started anew, or lost our challenge otherwise, before our registration came. */
function isForgotten({ returnCode, error }: ReplyMessage): boolean {
  return returnCode === 'unauthenticated' && error?.startsWith('no registration session') === true
}

interface Challenge {
  /** Where it came from, and where the registration goes. */
  readonly link: PeerLink | undefined
  readonly ownNonce: string
  readonly serverNonce: string
  readonly name: string
  readonly certificateChain: string
  readonly signature: Uint8Array
  /** Where the link is to carry proofs. */
  readonly proofs:
    | { readonly own: KeyShare; readonly offer: ProofOffer; readonly answer: ProofAnswer }
    | undefined
}

async function requestChallenge(
  components: LoginComponents,
  options: LoginOptions,
): Promise<Challenge> {
  const { cell, signer, clock, logger } = components
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted()
    const link = components.link?.()
    let reason = 'there is no link to it'
    if (components.link === undefined || link !== undefined) {
      const ownNonce = crypto.randomUUID()
      const offered = offerProofs(components, options, link)
      const reply = await cell.request(SERVER_CELL, CHANNEL.task, 'challenge', null, {
        timeoutMs: options.messageTimeoutMs ?? 30_000,
        headers: {
          cn: signer.name,
          nonce: ownNonce,
          ...(offered && { [PROOF_FIELD]: writeOffer(offered.offer) }),
        },
        via: link,
        signal: options.signal,
      })
      if (reply.returnCode === 'ok') return readChallenge(link, ownNonce, offered, reply)
      if (!UNREACHABLE.has(reply.returnCode)) throw refused('challenge', reply)
      reason = reply.error ?? reply.returnCode
    }
    if (attempt === 1) logger.info('waiting for the server', { reason })
    await abortableDelay(clock, options.retryIntervalMs ?? 2_000, options)
  }
}

/** What we offer over `link`; nothing where its peer offered none, or where it has proofs already. */
function offerProofs(
  { createKeyShare }: LoginComponents,
  { expectedCapabilities = [], serverIdentity }: LoginOptions,
  link: PeerLink | undefined,
): { readonly own: KeyShare; readonly offer: ProofOffer } | undefined {
  const missing = expectedCapabilities.filter((one) => link?.capabilities.includes(one) !== true)
  if (missing.length > 0) throw downgrade(serverIdentity, missing)
  if (link?.proofs.offered !== true || link.proofs.active || createKeyShare === undefined)
    return undefined
  const own = createKeyShare()
  const { channelBinding = '', keyExchange = '' } = link.connection.info
  return {
    own,
    offer: { capabilities: [PROOF_CAPABILITY], share: own.share, channelBinding, keyExchange },
  }
}

function readChallenge(
  link: PeerLink | undefined,
  ownNonce: string,
  offered: { readonly own: KeyShare; readonly offer: ProofOffer } | undefined,
  reply: ReplyMessage,
): Challenge {
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
  const answer = offered && readAnswer(body.content.get(PROOF_FIELD))
  if (offered !== undefined && answer === undefined)
    throw malformed('challenge', 'it offered message proofs, and does not say with which keys')
  if (answer !== undefined && !sameTexts(answer.capabilities, link?.capabilities ?? []))
    throw new SessionError(
      'ERR_DOWNGRADE',
      "the server's greeting and its login name different capabilities: somebody on the way changed them",
    )
  const proofs = offered && answer && { ...offered, answer }
  return { link, ownNonce, serverNonce, name, certificateChain, signature, proofs }
}

async function verifyServer(
  { cell, signer, verifier }: LoginComponents,
  options: LoginOptions,
  challenge: Challenge,
): Promise<ProvenIdentity> {
  if (challenge.name !== options.serverIdentity)
    throw new SessionError(
      'ERR_SERVER_IDENTITY',
      `the server calls itself '${challenge.name}', this kit expects '${options.serverIdentity}'; check the address it dials`,
    )
  const claim = {
    certificateChain: challenge.certificateChain,
    expectedName: options.serverIdentity,
    usage: 'server',
  } as const
  try {
    const { signature, proofs } = challenge
    const signed = proofText(challenge.name, challenge.ownNonce)
    const identity = await verifier.verify({ ...claim, signed, signature })
    if (proofs !== undefined)
      await verifier.verify({
        ...claim,
        signed: serverProofText(transcriptOf(cell, signer, challenge, proofs)),
        signature: proofs.answer.signature,
      })
    return identity
  } catch (cause) {
    throw new SessionError(
      'ERR_SERVER_IDENTITY',
      `the server did not prove that it is '${options.serverIdentity}': ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
}

function transcriptOf(
  cell: Cell,
  signer: ProofSigner,
  { ownNonce, name, serverNonce }: Challenge,
  { offer, answer }: NonNullable<Challenge['proofs']>,
): Uint8Array {
  return transcriptBytes({
    client: { name: signer.name, cell: cell.fqcn, nonce: ownNonce },
    server: { name, nonce: serverNonce },
    offer,
    answer,
  })
}

async function requestRegistration(
  { cell, signer }: LoginComponents,
  options: LoginOptions,
  challenge: Challenge,
): Promise<ReplyMessage> {
  const body = new Shareable()
  body.headers.set('__peer_ctx__', FLContext.ofPublic(options.publicProperties))
  body.content.set('cn', signer.name)
  body.content.set('cert', new TextEncoder().encode(signer.certificateChain))
  body.content.set('signature', await signer.sign(proofText(signer.name, challenge.serverNonce)))
  if (options.renews !== undefined) body.content.set(RENEWED_TOKEN, options.renews.token)
  const { link, proofs } = challenge
  if (link !== undefined && proofs !== undefined) {
    const transcript = transcriptOf(cell, signer, challenge, proofs)
    body.content.set(PROOF_FIELD, await signer.sign(clientProofText(transcript)))
    const { coversPayload, share } = proofs.answer
    // The registration itself is the first message with a code: it shows the server that we have the keys.
    link.proofs.start(proofs.own.agree(share, { side: 'dialler', transcript, coversPayload }))
  }
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
    via: link,
    signal: options.signal,
  })
}

async function readRegistration(
  { signer, verifier }: LoginComponents,
  challenge: Challenge,
  reply: ReplyMessage,
): Promise<Pick<Login, 'credentials' | 'tokenLifetimeMs'>> {
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
  const seconds = reply.body.get(TOKEN_SECONDS)
  return {
    credentials: {
      name: signer.name,
      token,
      tokenSignature,
      ssid: typeof ssid === 'string' ? ssid : NO_SSID,
    },
    tokenLifetimeMs: typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined,
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

function downgrade(serverIdentity: string, missing: readonly string[]): SessionError {
  return new SessionError(
    'ERR_DOWNGRADE',
    `'${serverIdentity}' was known to offer ${missing.join(', ')} and now does not: somebody on the way takes it out, or the server was replaced by an older one; if that is meant, delete state/known-server.json of this kit`,
  )
}
