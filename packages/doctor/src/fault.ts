/** What can be wrong; documented in `docs/doctor.md`, and stable. */
export type FaultCode =
  | 'kit-unusable'
  | 'kit-incomplete'
  | 'kit-changed'
  | 'kit-exposed'
  | 'key-mismatch'
  | 'own-certificate-untrusted'
  | 'own-certificate-expired'
  | 'clock-skew'
  | 'name-not-resolved'
  | 'nothing-listens'
  | 'no-answer'
  | 'no-route'
  | 'proxy-refused'
  | 'clear-port'
  | 'tls-port'
  | 'http-answer'
  | 'handshake-stalled'
  | 'large-packets-lost'
  | 'handshake-failed'
  | 'wrong-ca'
  | 'chain-incomplete'
  | 'name-not-in-certificate'
  | 'server-certificate-expired'
  | 'client-certificate-missing'
  | 'client-certificate-refused'
  | 'server-identity'
  | 'other-protocol'
  | 'idle-cut'
  | 'refused'

/** One thing that is wrong between a participant and its server. */
export interface Fault {
  readonly code: FaultCode
  /** In one sentence. */
  readonly what: string
  readonly seen: string
  readonly expected: string
  /** What to do, and who can. */
  readonly fix: string
}
