import type { Cell, CellReply, CellRequest, PeerLink } from '@hanse/cellnet'
import { PROOF_CAPABILITY, textHeader } from '@hanse/cellnet'
import type { Clock } from '@hanse/contract'
import { messageOf } from '@hanse/contract'
import {
  type ParticipantKind,
  readToken,
  TOKEN_LIFETIME_MS,
  type TokenClaims,
  writeToken,
} from '../authentication/token.ts'
import { jsonOfFobs } from '../json-values.ts'
import { Shareable } from '../messages/shareable.ts'
import {
  CELL_HEADER,
  CHANNEL,
  FEDERATION_PROTOCOL_VERSION,
  isExternalCell,
  NO_SSID,
} from '../names.ts'
import {
  clientProofText,
  type KeyShareFactory,
  PROOF_FIELD,
  type ProofAnswer,
  RENEWED_TOKEN,
  readOffer,
  sameTexts,
  serverProofText,
  TOKEN_SECONDS,
  transcriptBytes,
  writeAnswer,
} from './key-agreement.ts'
import type { ProofSigner, ProofVerifier, ProvenIdentity, TokenMac } from './proofs.ts'
import { proofText } from './proofs.ts'

/** One login that has been proven, before it is accepted. */
export interface Applicant {
  readonly kind: ParticipantKind
  readonly cell: string
  readonly identity: ProvenIdentity
  readonly software: string
  /** JSON text of the site's facts about itself; empty if there are none that we take. */
  readonly siteConfig: string
  /** The token that this login continues: the same process, over a new link or before its token expires. */
  readonly renews: TokenClaims | undefined
  /** What it came by. */
  readonly link: PeerLink | undefined
}

export interface RegistrarComponents {
  readonly signer: ProofSigner
  readonly verifier: ProofVerifier
  readonly mac: TokenMac
  readonly clock: Clock
  /** For the proofs of links where both sides offer them; without it the cell must not offer any. */
  readonly createKeyShare: KeyShareFactory
  /** Signs `name + token`; base64. */
  signToken(name: string, token: string): string
  /** A reason to refuse a proven applicant; `undefined` takes it. */
  refusal(applicant: Applicant): string | undefined
  onRegistered(applicant: Applicant, claims: TokenClaims): void
  onRefused(facts: { readonly name: string; readonly cell: string; readonly reason: string }): void
}

export interface RegistrarOptions {
  readonly project: string
  readonly software: string
  /** How long a challenge may wait for its registration. Default 60 s. */
  readonly challengeLifetimeMs?: number
}

const MAX_PENDING_CHALLENGES = 10_000
/** An honest peer needs one challenge a login, and a few when it starts over. */
const MAX_CHALLENGES = 20
const CHALLENGE_WINDOW_MS = 10_000
const MAX_SITE_CONFIG_CHARS = 65_536
const KIND_OF_WIRE: ReadonlyMap<string, ParticipantKind> = new Map([
  ['regular', 'site'],
  ['admin', 'admin'],
  ['relay', 'relay'],
  // Not of stock: its third parties join below a site, and log in nowhere.
  ['external', 'external'],
])

/** Serves `challenge` and `register` on the server's cell (`spec/session.md` §2.2, §2.3). */
export function serveRegistration(
  cell: Cell,
  components: RegistrarComponents,
  options: RegistrarOptions,
): void {
  const challenges = new PendingChallenges(components.clock, options.challengeLifetimeMs ?? 60_000)
  const rate = new ChallengeRate(components.clock)

  cell.handle(CHANNEL.task, 'challenge', async (request) => {
    const callerNonce = textHeader(request.headers, 'nonce') ?? ''
    if (callerNonce === '' || callerNonce.length > 128)
      return refuse('challenge needs a nonce of 1 to 128 characters', 'invalid_request')
    if (!rate.admits(request.link)) {
      const reason = `more than ${MAX_CHALLENGES} challenges within ${CHALLENGE_WINDOW_MS / 1000} s over one link`
      components.onRefused({ name: '', cell: request.link?.fqcn ?? request.origin, reason })
      return refuse(reason, 'service_unavailable')
    }
    return challenge(request, callerNonce)
  })

  async function challenge(request: CellRequest, callerNonce: string): Promise<CellReply> {
    const { signer } = components
    const nonce = crypto.randomUUID()
    const proofs = await agreeOnProofs(request, { callerNonce, nonce }, components)
    if (typeof proofs === 'string') {
      const name = textHeader(request.headers, 'cn') ?? ''
      components.onRefused({ name, cell: request.origin, reason: proofs })
      return refuse(proofs)
    }
    challenges.add(request.origin, { nonce, transcript: proofs?.transcript })
    const body = new Shareable()
    body.content.set('nonce', nonce)
    body.content.set('cn', signer.name)
    body.content.set('cert', new TextEncoder().encode(signer.certificateChain))
    body.content.set('signature', await signer.sign(proofText(signer.name, callerNonce)))
    if (proofs !== undefined) body.content.set(PROOF_FIELD, writeAnswer(proofs.answer))
    return { body }
  }

  cell.handle(CHANNEL.task, 'register', async (request) => {
    const name = textHeader(request.headers, CELL_HEADER.clientName) ?? ''
    const challenged = challenges.take(request.origin)
    const verdict = await admit(request, name, challenged, components, options)
    if (typeof verdict === 'string') {
      components.onRefused({ name, cell: request.origin, reason: verdict })
      return refuse(verdict)
    }
    return register(verdict, request.link, components, options)
  })
}

/**
 * Where the link is to carry proofs: makes its keys, and stages them for the registration, which is the first message
 * with a code.
 * @returns what to tell the other side; `undefined` if there is nothing to agree on; or why this cannot be
 */
async function agreeOnProofs(
  { headers, origin, link }: CellRequest,
  { callerNonce, nonce }: { readonly callerNonce: string; readonly nonce: string },
  { signer, createKeyShare }: RegistrarComponents,
): Promise<{ readonly answer: ProofAnswer; readonly transcript: Uint8Array } | string | undefined> {
  if (link === undefined || !link.proofs.offered || link.proofs.active) return undefined
  const offer = readOffer(headers.get(PROOF_FIELD))
  if (offer === undefined)
    return 'both ends of this link offered message proofs; the request for a challenge must agree on their keys'
  if (origin !== link.fqcn) return 'message proofs are agreed on by the cell at the other end'
  const { channelBinding, mode } = link.connection.info
  const endToEnd = channelBinding !== undefined && channelBinding === offer.channelBinding
  if (mode === 'mtls' && channelBinding !== undefined && !endToEnd)
    return 'the TLS connection that reached this server is not the one that left you: somebody is in between'
  if (!sameTexts(offer.capabilities, link.capabilities))
    return 'the capabilities in the greeting are not those in the login: somebody on the way changed them'
  const own = createKeyShare()
  const terms = { capabilities: [PROOF_CAPABILITY], share: own.share, coversPayload: !endToEnd }
  const transcript = transcriptBytes({
    client: { name: textHeader(headers, 'cn') ?? '', cell: origin, nonce: callerNonce },
    server: { name: signer.name, nonce },
    offer,
    answer: terms,
  })
  try {
    const { coversPayload } = terms
    link.proofs.stage(own.agree(offer.share, { side: 'listener', transcript, coversPayload }), {
      keyExchange: offer.keyExchange === '' ? undefined : offer.keyExchange,
    })
  } catch (error) {
    return messageOf(error)
  }
  return {
    answer: { ...terms, signature: await signer.sign(serverProofText(transcript)) },
    transcript,
  }
}

/** @returns the applicant, or why it is refused */
async function admit(
  request: CellRequest,
  name: string,
  challenged: Challenged | undefined,
  components: RegistrarComponents,
  options: RegistrarOptions,
): Promise<Applicant | string> {
  if (challenged === undefined) return 'no registration session: ask for a challenge first'
  if (textHeader(request.headers, CELL_HEADER.projectName) !== options.project)
    return 'Requested task does not match the current server task'
  const kind = KIND_OF_WIRE.get(textHeader(request.headers, CELL_HEADER.clientType) ?? '')
  if (kind === undefined) return 'client_type must be regular, relay, admin or external'
  const { body, link } = request
  if (link?.proofs.offered === true && !link.proofs.active)
    return 'both ends of this link offered message proofs; the registration carries none'
  if (!(body instanceof Shareable)) return 'the body is not a Shareable'
  const certificate = body.content.get('cert')
  const signature = body.content.get('signature')
  if (!(certificate instanceof Uint8Array) || !(signature instanceof Uint8Array))
    return 'certificate or signature is missing'

  const claim = {
    certificateChain: new TextDecoder().decode(certificate),
    expectedName: name,
    usage: 'client',
  } as const
  let identity: ProvenIdentity
  try {
    const signed = proofText(name, challenged.nonce)
    identity = await components.verifier.verify({ ...claim, signed, signature })
    if (challenged.transcript !== undefined)
      await components.verifier.verify({
        ...claim,
        signed: clientProofText(challenged.transcript),
        signature: bytesIn(body, PROOF_FIELD),
      })
  } catch (error) {
    return `'${name}' did not prove its identity: ${messageOf(error)}`
  }
  const renews = renewedToken(body, components)
  const applicant: Applicant = {
    kind,
    cell: request.origin,
    identity,
    software: softwareOf(request),
    siteConfig: siteConfigOf(kind, body),
    renews,
    link,
  }
  if (link?.proofs.active === true && challenged.transcript === undefined && renews === undefined)
    return 'this link belongs to a login already, which can only be renewed'
  return mismatch(applicant, link?.peerName) ?? components.refusal(applicant) ?? applicant
}

/** The claims of a token that a login goes on with; a token of before a change of our key is as good as none. */
function renewedToken(body: Shareable, { mac }: RegistrarComponents): TokenClaims | undefined {
  const token = body.content.get(RENEWED_TOKEN)
  return typeof token === 'string' ? readToken(token, mac) : undefined
}

function bytesIn(body: Shareable, key: string): Uint8Array {
  const value = body.content.get(key)
  return value instanceof Uint8Array ? value : new Uint8Array(0)
}

/** A person's certificate is no site's and the reverse: what a certificate may be used for does not depend on what its holder says. */
function mismatch(
  { kind, cell, identity, renews }: Applicant,
  peerName: string | undefined,
): string | undefined {
  if (
    renews !== undefined &&
    (renews.kind !== kind ||
      renews.name !== identity.name ||
      renews.cell !== cell ||
      renews.fingerprint !== identity.fingerprint)
  )
    return 'the token to be renewed was issued to somebody else'
  if (peerName !== undefined && peerName !== identity.name)
    return `the link's certificate names '${peerName}', the login '${identity.name}'`
  const isAdminCell = cell.startsWith('_admin_')
  if (kind === 'admin') {
    if (identity.role === '')
      return `the certificate of '${identity.name}' gives no role: it is not a person's`
    if (!isAdminCell) return 'a person logs in from an _admin_ cell'
    return undefined
  }
  if (identity.role !== '')
    return `the certificate of '${identity.name}' is a person's, not a ${kind}'s`
  if (kind === 'external')
    return isExternalCell(cell) && cell.slice(0, cell.indexOf('.')) === identity.name
      ? undefined
      : `the cell '${cell}' is not one that '${identity.name}' may give an external program`
  const lastSegment = cell.slice(cell.lastIndexOf('.') + 1)
  if (lastSegment !== identity.name) return `the cell '${cell}' is not that of '${identity.name}'`
  return undefined
}

function register(
  applicant: Applicant,
  link: PeerLink | undefined,
  components: RegistrarComponents,
  options: RegistrarOptions,
): CellReply {
  const { name } = applicant.identity
  const claims: TokenClaims = {
    kind: applicant.kind,
    name,
    cell: applicant.cell,
    fingerprint: applicant.identity.fingerprint,
    issuedAt: components.clock.now(),
    nonce: applicant.renews?.nonce ?? crypto.randomUUID(),
    proven: link?.proofs.active === true,
  }
  const token = writeToken(claims, components.mac)
  components.onRegistered(applicant, claims)
  link?.open()
  return {
    body: new Map<string, string | number>([
      ['__token__', token],
      ['__token_signature__', components.signToken(name, token)],
      ['ssid', NO_SSID],
      [CELL_HEADER.protocolVersion, FEDERATION_PROTOCOL_VERSION],
      [CELL_HEADER.softwareVersion, options.software],
      ...(claims.proven ? [[TOKEN_SECONDS, TOKEN_LIFETIME_MS / 1000] as const] : []),
    ]),
  }
}

function refuse(reason: string, returnCode = 'unauthenticated'): CellReply {
  return { returnCode, error: reason }
}

function softwareOf(request: CellRequest): string {
  return (textHeader(request.headers, CELL_HEADER.softwareVersion) ?? '').slice(0, 64)
}

/** The site's facts as JSON, if they are JSON and not too long (`spec/session.md` §2.6); else nothing. */
function siteConfigOf(kind: ParticipantKind, body: Shareable): string {
  const config = body.content.get('site_config')
  if (kind !== 'site' || !(config instanceof Map)) return ''
  const json = jsonOfFobs(config)
  const text = json === undefined ? '' : JSON.stringify(json)
  return text.length <= MAX_SITE_CONFIG_CHARS ? text : ''
}

/** Bounds the challenges of each link: every one costs a signature, and pushes older ones out when there are many. */
class ChallengeRate {
  readonly #clock: Clock
  readonly #windows = new WeakMap<PeerLink, { since: number; count: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  admits(link: PeerLink | undefined): boolean {
    if (link === undefined) return true
    const now = this.#clock.now()
    const window = this.#windows.get(link)
    if (window === undefined || now - window.since >= CHALLENGE_WINDOW_MS) {
      this.#windows.set(link, { since: now, count: 1 })
      return true
    }
    window.count += 1
    return window.count <= MAX_CHALLENGES
  }
}

interface Challenged {
  readonly nonce: string
  /** What the keys of the link's proofs were made over, where they were. */
  readonly transcript: Uint8Array | undefined
}

/** One challenge an origin, each good for one registration within its lifetime. */
class PendingChallenges {
  readonly #clock: Clock
  readonly #lifetimeMs: number
  readonly #pending = new Map<string, Challenged & { readonly expires: number }>()

  constructor(clock: Clock, lifetimeMs: number) {
    this.#clock = clock
    this.#lifetimeMs = lifetimeMs
  }

  add(origin: string, challenged: Challenged): void {
    const now = this.#clock.now()
    for (const [key, { expires }] of this.#pending) {
      // Insertion order is order of expiry.
      if (expires > now && this.#pending.size < MAX_PENDING_CHALLENGES) break
      this.#pending.delete(key)
    }
    this.#pending.delete(origin)
    this.#pending.set(origin, { ...challenged, expires: now + this.#lifetimeMs })
  }

  take(origin: string): Challenged | undefined {
    const entry = this.#pending.get(origin)
    this.#pending.delete(origin)
    return entry !== undefined && entry.expires > this.#clock.now() ? entry : undefined
  }
}
