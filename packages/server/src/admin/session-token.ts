import { z } from 'zod'

/** What a session's token says (`spec/admin.md` §3.1). Trust comes from the table of sessions, not from it. */
export interface SessionTokenClaims {
  readonly user: string
  readonly role: string
  readonly organization: string
  readonly sessionId: string
  readonly study: string
}

/** The server's key, as far as tokens need it. Texts count as UTF-8, signatures are standard base64. */
export interface TextSigner {
  sign(text: string): string
  verify(text: string, signature: string): boolean
}

const MAX_TOKEN_CHARACTERS = 8192

const claimsSchema = z.object({
  n: z.string(),
  r: z.string(),
  o: z.string(),
  s: z.string(),
  study: z.string(),
})

export function writeSessionToken(claims: SessionTokenClaims, signer: TextSigner): string {
  const text = JSON.stringify({
    n: claims.user,
    r: claims.role,
    o: claims.organization,
    s: claims.sessionId,
    study: claims.study,
  })
  return `${Buffer.from(text, 'utf8').toString('base64')}:${signer.sign(text)}`
}

/** @returns `undefined` for everything that this server did not write */
export function readSessionToken(
  token: string,
  signer: TextSigner,
): SessionTokenClaims | undefined {
  if (token.length > MAX_TOKEN_CHARACTERS) return undefined
  const parts = token.split(':')
  const [body, signature] = parts
  if (parts.length !== 2 || body === undefined || signature === undefined) return undefined
  const bytes = Buffer.from(body, 'base64')
  // One token, one text: padding or alphabet variants are not ours.
  if (bytes.toString('base64') !== body) return undefined
  const text = bytes.toString('utf8')
  if (!signer.verify(text, signature)) return undefined
  const claims = claimsSchema.safeParse(JSON.parse(text))
  if (!claims.success) return undefined
  const { n, r, o, s, study } = claims.data
  return { user: n, role: r, organization: o, sessionId: s, study }
}
