import { TransportError } from '@hanse/contract'

/** What verification of the peer's certificate said, by OpenSSL's and Node's codes. */
const CERTIFICATE_FAULTS: ReadonlyMap<string, readonly [reason: string, text: string]> = new Map([
  ['CERT_HAS_EXPIRED', ['expired', 'the certificate has expired; renew it']],
  ['CERT_NOT_YET_VALID', ['not-yet-valid', 'the certificate is not valid yet; compare the clocks']],
  ['ERR_TLS_CERT_ALTNAME_INVALID', ['name', 'the certificate does not carry the expected name']],
  ['INVALID_PURPOSE', ['purpose', 'the certificate was not issued for this side of a connection']],
  ['CERT_REVOKED', ['revoked', 'the certificate was revoked']],
  ['CERT_SIGNATURE_FAILURE', ['untrusted', 'the signature of the certificate is wrong']],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', ['untrusted', 'the certificate is self-signed']],
  ['SELF_SIGNED_CERT_IN_CHAIN', ['untrusted', 'the certificate comes from another root']],
  ['UNABLE_TO_GET_ISSUER_CERT', ['untrusted', 'the certificate comes from another root']],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', ['untrusted', 'the certificate comes from another root']],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', ['untrusted', 'the certificate comes from another root']],
  ['CERT_UNTRUSTED', ['untrusted', 'the certificate comes from another root']],
  ['CERT_REJECTED', ['untrusted', 'the certificate comes from another root']],
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', ['missing', 'the peer presented no certificate']],
])

/** What the peer told us, by the end of the alert's code. */
const ALERTS: ReadonlyMap<string, readonly [reason: string, text: string]> = new Map([
  ['CERTIFICATE_REQUIRED', ['missing', 'it demands a certificate and we presented none']],
  ['CERTIFICATE_EXPIRED', ['expired', 'our certificate has expired; renew it']],
  ['CERTIFICATE_REVOKED', ['revoked', 'our certificate was revoked']],
  ['CERTIFICATE_UNKNOWN', ['untrusted', 'it does not accept our certificate']],
  ['UNSUPPORTED_CERTIFICATE', ['purpose', 'our certificate was not issued for this purpose']],
  ['BAD_CERTIFICATE', ['untrusted', 'it cannot use our certificate']],
  ['UNKNOWN_CA', ['untrusted', 'our certificate comes from a root it does not trust']],
  ['DECRYPT_ERROR', ['untrusted', 'our key does not fit our certificate']],
  ['PROTOCOL_VERSION', ['version', 'it speaks no TLS version that we allow (1.2 or newer)']],
  ['HANDSHAKE_FAILURE', ['missing', 'no agreement, or it demands a certificate that we lack']],
])

const NOT_TLS = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_HTTP_REQUEST',
])

const NETWORK: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nothing listens there'],
  ['ENOTFOUND', 'the host name is unknown'],
  ['EAI_AGAIN', 'the host name could not be resolved right now'],
  ['EHOSTUNREACH', 'there is no route to the host'],
  ['ENETUNREACH', 'there is no route to the network'],
  ['ECONNRESET', 'the peer reset the connection'],
  ['ETIMEDOUT', 'the network gave no answer'],
  ['EADDRINUSE', 'the address is in use by another process'],
  ['EADDRNOTAVAIL', 'this machine has no such address'],
  ['EACCES', 'this user may not use the port'],
  ['EPIPE', 'the peer closed the connection'],
])

function codeOf(error: Error): string {
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return codeOf(error.errors[0])
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Reason and sentence for a failed TLS handshake or a fatal alert; `undefined` if it was not TLS that failed. */
export function explainTls(error: Error): { reason: string; text: string } | undefined {
  const code = codeOf(error)
  const fault = CERTIFICATE_FAULTS.get(code)
  if (fault !== undefined) return { reason: fault[0], text: fault[1] }
  const alert = /_ALERT_([A-Z_]+)$/.exec(code)?.[1]
  if (alert !== undefined) {
    const [reason, text] = ALERTS.get(alert) ?? ['alert', `it sent the TLS alert ${alert}`]
    return { reason, text: `the peer refused us: ${text}` }
  }
  if (NOT_TLS.has(code)) return { reason: 'not-tls', text: 'the peer does not speak TLS there' }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_'))
    return { reason: 'tls', text: `TLS failed with ${code}` }
  return undefined
}

/** Sentence for a system error code. */
export function explainNetwork(error: Error): string {
  const code = codeOf(error)
  return NETWORK.get(code) ?? (code === '' ? error.message : code)
}

/** Why a connection could not be opened. */
export function connectError(error: Error, address: string): TransportError {
  const tls = explainTls(error)
  if (tls !== undefined)
    return new TransportError(
      'ERR_TLS_HANDSHAKE',
      `cannot connect securely to ${address}: ${tls.text}`,
      { address, reason: tls.reason },
      { cause: error },
    )
  return new TransportError(
    'ERR_CONNECT_REFUSED',
    `cannot connect to ${address}: ${explainNetwork(error)}`,
    { address, reason: codeOf(error) },
    { cause: error },
  )
}

/**
 * Why a live connection broke. In TLS 1.3 a listener's refusal of our certificate arrives only after our side
 * of the handshake is done, so it can show up here.
 */
export function lostError(error: Error): TransportError {
  const tls = explainTls(error)
  if (tls !== undefined)
    return new TransportError(
      'ERR_TLS_HANDSHAKE',
      tls.text,
      { reason: tls.reason },
      { cause: error },
    )
  return new TransportError(
    'ERR_CONNECTION_LOST',
    `the connection was lost: ${explainNetwork(error)}`,
    { reason: codeOf(error) },
    { cause: error },
  )
}
