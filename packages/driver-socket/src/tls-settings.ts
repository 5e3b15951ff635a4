import { constants, X509Certificate } from 'node:crypto'
import { checkServerIdentity, type PeerCertificate, type SecureContextOptions } from 'node:tls'
import { type LinkSecurity, TransportError, type TransportErrorCode } from '@hanse/contract'

/** Schemes that are TLS by name; `spec/transport.md` §2.1. */
const SECURE_SCHEMES = new Set(['stcp', 'satcp', 'https', 'grpcs', 'agrpcs'])

/** Throws unless `security` can be used for `scheme`: nothing falls back to less than was asked for. */
export function checkSecurity(
  scheme: string,
  security: LinkSecurity,
  role: 'active' | 'passive',
  code: TransportErrorCode,
): void {
  const refuse = (text: string): never => {
    throw new TransportError(code, text, { scheme, mode: security.mode })
  }
  if (security.mode === 'clear') {
    if (SECURE_SCHEMES.has(scheme))
      refuse(`scheme ${scheme} means TLS, but the link's mode is clear`)
    return
  }
  const { tls } = security
  // Without a CA of our own, Node would trust the roots that it came with.
  if (tls === undefined || tls.ca.trim() === '')
    refuse(`mode ${security.mode} needs the PEM text of a trusted CA`)
  const presents = role === 'passive' || security.mode === 'mtls'
  if (presents && (!tls?.cert || !tls.key))
    refuse(`mode ${security.mode} needs a certificate and its key on this side`)
}

/** TLS parameters of both sides: exactly the given CA, TLS 1.2 or newer, no resumption, no renegotiation. */
export function contextOptions(
  security: LinkSecurity,
  role: 'active' | 'passive',
): SecureContextOptions {
  const { tls } = security
  // A dialler that need not prove its name does not tell it either.
  const presents = role === 'passive' || security.mode === 'mtls'
  return {
    ca: tls?.ca,
    cert: presents ? tls?.cert : undefined,
    key: presents ? tls?.key : undefined,
    minVersion: 'TLSv1.2',
    // A resumed session would skip the check of a certificate that may have been revoked since.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
}

/** The check of the dialled server's name, `undefined` meaning accepted. */
export function serverIdentityCheck(
  security: LinkSecurity,
  host: string,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  if (security.serverName === false) return () => undefined
  const expected = security.serverName ?? host
  return (_host, certificate) => checkServerIdentity(expected, certificate)
}

/**
 * Refuses to dial with a certificate that every listener would refuse: many close without saying why.
 * @throws {TransportError} `ERR_TLS_HANDSHAKE`
 */
export function checkOwnCertificate(security: LinkSecurity, now: number): void {
  const pem = security.mode === 'mtls' ? security.tls?.cert : undefined
  if (pem === undefined) return
  let leaf: X509Certificate
  try {
    leaf = new X509Certificate(pem)
  } catch (cause) {
    throw new TransportError(
      'ERR_TLS_HANDSHAKE',
      'our own certificate cannot be read',
      { reason: 'unreadable' },
      { cause },
    )
  }
  if (leaf.validToDate.getTime() < now)
    throw new TransportError(
      'ERR_TLS_HANDSHAKE',
      `our own certificate expired on ${leaf.validToDate.toISOString()}; renew it`,
      { reason: 'expired' },
    )
}
