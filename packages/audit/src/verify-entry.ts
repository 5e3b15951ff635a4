import { type AuditEntry, type AuditHead, entryLine, hashOf } from './audit-entry.ts'

/** Why a line does not fit. Codes are stable. */
export type MisfitCode =
  /** The file ends inside a line: a crash, or somebody cut it. */
  | 'incomplete'
  | 'too-long'
  /** Not JSON, not an object of this format, or not in its one canonical form. */
  | 'unreadable'
  /** A later version of the format than this program knows. */
  | 'unknown-version'
  /** The sequence number does not follow: an entry was removed, added or moved. */
  | 'sequence'
  /** `prev` is not the hash of the entry before. */
  | 'chain'
  /** `hash` is not the hash of the entry: its content was changed. */
  | 'hash'

export interface Misfit {
  readonly code: MisfitCode
  readonly text: string
}

const FIELDS: ReadonlyMap<string, (value: unknown) => boolean> = new Map([
  ['v', (value: unknown) => value === 1],
  ['seq', (value: unknown) => Number.isSafeInteger(value) && Number(value) > 0],
  ['time', (value: unknown) => typeof value === 'string' && /^[0-9T:.+-]+Z$/.test(value)],
  ['actor', isActor],
  ['act', isText],
  ['target', (value: unknown) => value === null || isText(value)],
  ['job', (value: unknown) => value === null || isText(value)],
  ['outcome', (value: unknown) => value === 'accepted' || value === 'refused'],
  ['code', isText],
  ['text', isText],
  ['facts', isFacts],
  ['prev', isHash],
  ['hash', isHash],
])

/**
 * Checks that `line`, without its line feed, is the entry after `head`.
 * @returns the entry, or why it does not fit
 */
export function verifyEntry(line: string, head: AuditHead): AuditEntry | Misfit {
  const parsed = parseLine(line)
  if (!('hash' in parsed)) return parsed
  if (parsed.seq !== head.seq + 1)
    return { code: 'sequence', text: `it has seq ${parsed.seq}; ${head.seq + 1} was expected` }
  if (parsed.prev !== head.hash)
    return { code: 'chain', text: 'its prev is not the hash of the entry before' }
  const { hash, ...body } = parsed
  if (hashOf(body) !== hash) return { code: 'hash', text: 'its content does not have its hash' }
  // Everything is covered by the hash but the spelling: white space, escapes, repeated keys.
  if (entryLine(parsed) !== `${line}\n`)
    return { code: 'unreadable', text: 'it is not in canonical form' }
  return parsed
}

/** Reads the fields of a line without looking at the chain. */
export function parseLine(line: string): AuditEntry | Misfit {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return { code: 'unreadable', text: 'it is not JSON' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { code: 'unreadable', text: 'it is not an object' }
  const fields = new Map<string, unknown>(Object.entries(value))
  const version = fields.get('v')
  if (Number.isSafeInteger(version) && Number(version) > 1)
    return { code: 'unknown-version', text: `it is of version ${version}; this program knows 1` }
  for (const [name, holds] of FIELDS)
    if (!holds(fields.get(name)))
      return { code: 'unreadable', text: `its field ${name} is absent or not as the format says` }
  if (fields.size !== FIELDS.size)
    return { code: 'unreadable', text: 'it has fields that the format does not know' }
  // The loop above has checked every field of the interface.
  return value as AuditEntry
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}

function isActor(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return 'name' in value && Object.values(value).every(isText)
}

function isFacts(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((fact) => isText(fact) || typeof fact === 'number')
}
