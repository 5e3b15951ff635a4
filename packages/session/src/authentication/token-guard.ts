import { type HeaderValue, type IncomingFilter, type PeerLink, textHeader } from '@hanse/cellnet'
import type { Clock } from '@hanse/contract'
import type { TokenMac } from '../login/proofs.ts'
import { CELL_HEADER, CHANNEL, isAtOrBelow, isExternalCell, SERVER_CELL } from '../names.ts'
import { readToken, TOKEN_LIFETIME_MS, type TokenClaims } from './token.ts'

export interface TokenGuardComponents {
  readonly mac: TokenMac
  readonly clock: Clock
  /** True if `signature` (base64) is the server's own over `text`; `spec/session.md` §3.1. */
  verifySignature(text: string, signature: string): boolean
  /** A reason to refuse claims that were once good: another login took their place, the name is disabled … */
  objection(claims: TokenClaims): string | undefined
  /** True for the private pipe to one of the server's own job processes, which proves itself by being one. */
  isOwnJob(link: PeerLink): boolean
  onRefused(refusal: RefusedMessage): void
}

export interface RefusedMessage {
  readonly origin: string
  readonly destination: string
  readonly channel: string
  readonly topic: string
  /** Certificate name of the link, or its cell name where it proves none. */
  readonly peer: string
  readonly reason: string
}

/** What a message needs to get past the server; `spec/session.md` §3.2, with every gap it lists closed. */
export interface TokenGuard {
  readonly filter: IncomingFilter
  /** Who sent a message that has passed the filter; `undefined` for the server's own processes and for logins. */
  claimsOf(headers: ReadonlyMap<string, HeaderValue>): TokenClaims | undefined
}

const MAX_REMEMBERED = 4096
const EXEMPT_TOPICS: ReadonlySet<HeaderValue> = new Set(['challenge', 'register'])

/** Builds the server's check of every message, also of those that only pass through. */
export function createTokenGuard(components: TokenGuardComponents): TokenGuard {
  const known = new Map<string, { readonly claims: TokenClaims; readonly signature: string }>()

  function remember(token: string, signature: string): TokenClaims | undefined {
    const entry = known.get(token)
    if (entry?.signature === signature) return entry.claims
    const claims = readToken(token, components.mac)
    if (claims === undefined || !components.verifySignature(claims.name + token, signature))
      return undefined
    if (known.size >= MAX_REMEMBERED) known.delete(known.keys().next().value!)
    known.set(token, { claims, signature })
    return claims
  }

  function objectionTo(
    headers: ReadonlyMap<string, HeaderValue>,
    link: PeerLink,
  ): string | undefined {
    const name = textOf(headers, CELL_HEADER.clientName)
    const token = textOf(headers, CELL_HEADER.token)
    const signature = textOf(headers, CELL_HEADER.tokenSignature)
    if (name === '' || token === '' || signature === '') return 'the message carries no token'
    const claims = remember(token, signature)
    if (claims === undefined) return 'the token was not issued by this server'
    if (claims.name !== name) return `the token belongs to another name than '${name}'`
    if (!isAtOrBelow(textOf(headers, 'cn__origin'), claims.cell))
      return `the origin is not the cell that logged in as '${name}', nor below it`
    if (!isAtOrBelow(link.fqcn, claims.cell))
      return `the token of '${name}' came over the link of another cell`
    // One certificate, two members: neither may use what was issued to the other.
    if ((isExternalCell(link.fqcn) || claims.kind === 'external') && link.fqcn !== claims.cell)
      return `the token of '${claims.cell}' came over the link of '${link.fqcn}'`
    if (link.peerName !== undefined && link.peerName !== claims.name)
      return `the link's certificate names '${link.peerName}', the token '${claims.name}'`
    const fingerprint = link.connection.info.peerFingerprint
    if (fingerprint !== undefined && fingerprint !== claims.fingerprint)
      return 'the token was issued to another certificate of that name'
    if (claims.proven !== link.proofs.active)
      return claims.proven
        ? `the token of '${name}' is good only together with proofs, and this link has none`
        : `this link proves its messages; the token of '${name}' is of a login without`
    if (claims.proven && components.clock.now() - claims.issuedAt > TOKEN_LIFETIME_MS)
      return `the token of '${name}' has expired; log in again`
    return components.objection(claims)
  }

  return {
    filter({ headers, link }) {
      if (link === undefined || components.isOwnJob(link)) return undefined
      if (isExempt(headers, link)) return undefined
      const reason = objectionTo(headers, link)
      if (reason === undefined) {
        if (headers.get(CELL_HEADER.transit) === true) stripAuthentication(headers)
        return undefined
      }
      components.onRefused({
        origin: textOf(headers, 'cn__origin'),
        destination: textOf(headers, 'cn__destination'),
        channel: textOf(headers, 'cn__channel'),
        topic: textOf(headers, 'cn__topic'),
        peer: link.peerName ?? link.fqcn,
        reason,
      })
      return { reject: 'unauthenticated', reason }
    },
    claimsOf: (headers) => known.get(textOf(headers, CELL_HEADER.token))?.claims,
  }
}

/** Logins, and the goodbye of the cell at the other end of the link itself. */
function isExempt(headers: ReadonlyMap<string, HeaderValue>, link: PeerLink): boolean {
  if (headers.get('cn__destination') !== SERVER_CELL) return false
  if (headers.get('cn__origin') !== link.fqcn) return false
  const topic = headers.get('cn__topic')
  switch (headers.get('cn__channel')) {
    case CHANNEL.task:
      return topic !== undefined && EXEMPT_TOPICS.has(topic)
    case CHANNEL.cellnet:
      return topic === 'bye'
    default:
      return false
  }
}

/** What one member may not learn of another; `spec/session.md` §3.4. */
function stripAuthentication(headers: Map<string, HeaderValue>): void {
  headers.delete(CELL_HEADER.clientName)
  headers.delete(CELL_HEADER.token)
  headers.delete(CELL_HEADER.tokenSignature)
  headers.delete(CELL_HEADER.ssid)
  headers.delete('cn__conn_url')
}

function textOf(headers: ReadonlyMap<string, HeaderValue>, key: string): string {
  return textHeader(headers, key) ?? ''
}
