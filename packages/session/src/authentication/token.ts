import type { TokenMac } from '../login/proofs.ts'

/** `external`: a program outside Hanse that joined with a kit. */
export type ParticipantKind = 'site' | 'admin' | 'relay' | 'external'

/** What a token says of the one it was issued to. */
export interface TokenClaims {
  readonly kind: ParticipantKind
  /** Name of the certificate that registered. */
  readonly name: string
  /** Cell that registered; the token is good for it and the cells below it. */
  readonly cell: string
  /** Fingerprint of the certificate that registered. */
  readonly fingerprint: string
  /** Milliseconds since the epoch. */
  readonly issuedAt: number
  /** Tells logins of one participant apart; stays when a login is renewed. */
  readonly nonce: string
  /** Good only on links where every message proves where it comes from. */
  readonly proven: boolean
}

/**
 * How long tokens of logins with message proofs are good; they are renewed at half of that. Those of stock peers end
 * with their sessions.
 */
export const TOKEN_LIFETIME_MS = 24 * 3_600_000

const PREFIX = 'hanse1.'
const MAX_TOKEN_CHARS = 2048
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Text of a token: the claims and a keyed code over them. Opaque to stock peers. Since the code's key is derived
 * from the server's own key, a restarted server still knows what each token is bound to.
 */
export function writeToken(claims: TokenClaims, mac: TokenMac): string {
  const body = encoder.encode(
    JSON.stringify([
      claims.kind,
      claims.name,
      claims.cell,
      claims.fingerprint,
      claims.issuedAt,
      claims.nonce,
      claims.proven,
    ]),
  )
  return `${PREFIX}${base64url(body)}.${base64url(mac.mac(body))}`
}

/** Claims of a token that we issued; `undefined` for anything else, whatever is wrong with it. */
export function readToken(token: string, mac: TokenMac): TokenClaims | undefined {
  if (token.length > MAX_TOKEN_CHARS || !token.startsWith(PREFIX)) return undefined
  const parts = token.slice(PREFIX.length).split('.')
  const [bodyText, codeText] = parts
  if (parts.length !== 2 || bodyText === undefined || codeText === undefined) return undefined
  const body = fromBase64url(bodyText)
  const code = fromBase64url(codeText)
  if (body === undefined || code === undefined || !equalInConstantTime(code, mac.mac(body)))
    return undefined
  return claimsOf(body)
}

function claimsOf(body: Uint8Array): TokenClaims | undefined {
  // The code held, so we wrote this: shape checks only guard against an older layout of ours.
  const fields: unknown = JSON.parse(decoder.decode(body))
  if (!Array.isArray(fields) || fields.length !== 7) return undefined
  const [kind, name, cell, fingerprint, issuedAt, nonce, proven] = fields as unknown[]
  if (kind !== 'site' && kind !== 'admin' && kind !== 'relay' && kind !== 'external')
    return undefined
  if (typeof name !== 'string' || typeof cell !== 'string' || typeof fingerprint !== 'string')
    return undefined
  if (typeof issuedAt !== 'number' || typeof nonce !== 'string' || typeof proven !== 'boolean')
    return undefined
  return { kind, name, cell, fingerprint, issuedAt, nonce, proven }
}

/** Compares without telling by its duration where two codes differ. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!
  return difference === 0
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: 'base64url', omitPadding: true })
}

function fromBase64url(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(text, { alphabet: 'base64url', lastChunkHandling: 'loose' })
  } catch {
    return undefined
  }
}
