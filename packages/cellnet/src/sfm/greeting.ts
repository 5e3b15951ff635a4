import type { HeaderValue } from '../headers.ts'
import { decodeMap, encodeMap } from './wire-map.ts'

/**
 * Why a peer was not admitted; travels between Hanse peers.
 * - `invalid_name`: no FQCN
 * - `own_name`: it gave the name of the cell it dialled
 * - `name_in_use`: another connection under the name is alive
 * - `identity_mismatch`: its certificate names somebody else, or it has none
 * - `admin_not_allowed`: an admin name on a listener that is not for admins
 * - `unexpected_name`: this link is for another cell
 * - `too_many`: no room for more peers
 * - `closing`: the cell is stopping
 */
export type RefusalCode =
  | 'invalid_name'
  | 'own_name'
  | 'name_in_use'
  | 'identity_mismatch'
  | 'admin_not_allowed'
  | 'unexpected_name'
  | 'too_many'
  | 'closing'
  | (string & {})

export interface Refusal {
  readonly code: RefusalCode
  /** For people; what was seen, what was allowed. */
  readonly reason: string
}

/** What a HELLO or READY says (`spec/transport.md` §3.2). */
export interface Greeting {
  /** Trimmed, not yet checked; `''` if absent. */
  readonly fqcn: string
  /** The peer announced itself as one of ours. */
  readonly isHanse: boolean
  /** What it offers beside stock's protocol, by name and version. */
  readonly capabilities: readonly string[]
  readonly refusal: Refusal | undefined
}

/** Capability of message proofs: a code on every message, under keys agreed on at login. */
export const PROOF_CAPABILITY = 'proof/1'
/**
 * Key under which Hanse peers announce themselves and list their capabilities; stock peers keep unknown keys and do
 * nothing with them.
 */
const HANSE_PROPERTY = 'hanse'
const MAX_CAPABILITIES = 32
const REFUSAL_PROPERTY = 'hanse_refused'
const MAX_REASON_LENGTH = 500

/** @throws {CellError} `ERR_HEADERS` */
export function decodeGreeting(payload: Uint8Array): Greeting {
  const properties = decodeMap(payload)
  const name = properties.get('endpoint_name')
  return {
    fqcn: typeof name === 'string' ? name.trim() : '',
    isHanse: properties.has(HANSE_PROPERTY),
    capabilities: capabilitiesIn(properties.get(HANSE_PROPERTY)),
    refusal: readRefusal(properties.get(REFUSAL_PROPERTY)),
  }
}

function capabilitiesIn(value: HeaderValue | undefined): string[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, MAX_CAPABILITIES).filter((one) => typeof one === 'string')
}

function readRefusal(value: HeaderValue | undefined): Refusal | undefined {
  if (!(value instanceof Map)) return undefined
  const code = value.get('code')
  const reason = value.get('reason')
  if (typeof code !== 'string' || typeof reason !== 'string') return undefined
  return {
    code: printable(code.slice(0, 64)),
    reason: printable(reason.slice(0, MAX_REASON_LENGTH)),
  }
}

/** A peer's words end up in logs and on terminals. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}

export function encodeGreeting(greeting: {
  readonly fqcn: string
  readonly timestampSeconds: number
  readonly capabilities: readonly string[]
}): Uint8Array {
  return encodeMap(
    new Map<string, HeaderValue>([
      ['endpoint_name', greeting.fqcn],
      ['timestamp', greeting.timestampSeconds],
      ['fqcn', greeting.fqcn],
      [HANSE_PROPERTY, [...greeting.capabilities]],
    ]),
  )
}

/** A READY without a name: for a Hanse dialler the answer, for any other a frame without meaning. */
export function encodeRefusal({ code, reason }: Refusal): Uint8Array {
  const refusal = new Map<string, HeaderValue>([
    ['code', code],
    ['reason', reason.slice(0, MAX_REASON_LENGTH)],
  ])
  return encodeMap(
    new Map<string, HeaderValue>([
      [HANSE_PROPERTY, []],
      [REFUSAL_PROPERTY, refusal],
    ]),
  )
}
