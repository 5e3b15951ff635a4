import { createHash } from 'node:crypto'
import { AuditError } from './audit-error.ts'
import { canonicalJson } from './canonical-json.ts'

/** Who acted. What is not known is left out. */
export interface AuditActor {
  readonly name: string
  readonly org?: string | undefined
  readonly role?: string | undefined
  /** SHA-256 of the certificate that proved it, hexadecimal. */
  readonly fingerprint?: string | undefined
  /** Network address the act came from. */
  readonly origin?: string | undefined
}

/** One act to record. Never put tokens, keys, passwords or payloads into it. */
export interface AuditEvent {
  readonly actor: AuditActor
  /** What was done or tried, e.g. `submit_job`, `site.register`. */
  readonly act: string
  /** What it was done to, other than a job: a site, a file, a setting. */
  readonly target?: string | undefined
  readonly job?: string | undefined
  readonly outcome: 'accepted' | 'refused'
  /** Stable reason code, e.g. `allowed`, `right-not-granted`. */
  readonly code: string
  /** The reason for people, one or two sentences. Longer than 1000 characters is cut. */
  readonly text?: string | undefined
  /** Hashes, counts and ids that belong to the act. At most 16. */
  readonly facts?: Readonly<Record<string, string | number>> | undefined
}

/** One line of the record (`docs/audit.md`). */
export interface AuditEntry {
  /** Version of the format. */
  readonly v: 1
  /** 1 for the first entry, then without gaps. */
  readonly seq: number
  /** UTC, ISO 8601 with milliseconds; the writer's clock, which may be set back: `seq` is the order. */
  readonly time: string
  readonly actor: AuditActor
  readonly act: string
  readonly target: string | null
  readonly job: string | null
  readonly outcome: 'accepted' | 'refused'
  readonly code: string
  readonly text: string
  readonly facts: Readonly<Record<string, string | number>>
  /** Hash of the entry before; of the first entry: 64 zeros, or the last hash of the file before. */
  readonly prev: string
  /** SHA-256, hexadecimal, over the canonical JSON of all other fields. */
  readonly hash: string
}

/** A place in the record: everything up to `seq` is fixed by `hash`. */
export interface AuditHead {
  readonly seq: number
  readonly hash: string
}

/** The head before the first entry of a record. */
export const GENESIS: AuditHead = { seq: 0, hash: '0'.repeat(64) }

const MAX_TEXT = 1000
const MAX_NAME = 256
const MAX_FACTS = 16

/** Longest line that a reader accepts, octets; more than the limits above allow. */
export const MAX_LINE_BYTES = 131_072

/**
 * Makes the entry that follows `head`.
 * @param now ms since the epoch
 * @throws {AuditError} `ERR_AUDIT_EVENT`
 */
export function createEntry(event: AuditEvent, head: AuditHead, now: number): AuditEntry {
  const body = {
    v: 1 as const,
    seq: head.seq + 1,
    time: new Date(now).toISOString(),
    actor: boundedActor(event.actor),
    act: boundedName(event.act),
    target: event.target === undefined ? null : boundedName(event.target),
    job: event.job === undefined ? null : boundedName(event.job),
    outcome: event.outcome,
    code: boundedName(event.code),
    text: bounded(event.text ?? '', MAX_TEXT),
    facts: boundedFacts(event.facts ?? {}),
    prev: head.hash,
  }
  return { ...body, hash: hashOf(body) }
}

/** The line of an entry, with its line feed. */
export function entryLine(entry: AuditEntry): string {
  return `${canonicalJson(entry)}\n`
}

/** Hash of an entry from its fields other than `hash`. */
export function hashOf(body: object): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex')
}

function boundedActor(actor: AuditActor): AuditActor {
  const { name, org, role, fingerprint, origin } = actor
  return {
    name: boundedName(name),
    ...(org !== undefined && { org: boundedName(org) }),
    ...(role !== undefined && { role: boundedName(role) }),
    ...(fingerprint !== undefined && { fingerprint: boundedName(fingerprint) }),
    ...(origin !== undefined && { origin: boundedName(origin) }),
  }
}

function boundedName(text: string): string {
  return bounded(text, MAX_NAME)
}

/** Entries are bounded, and a private key that strayed into a message does not stay for ever. */
function bounded(text: string, limit: number): string {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY/.test(text)) return '[redacted]'
  // Cut by code point, so that no half of a pair remains.
  return text.length <= limit ? text : `${[...text.slice(0, limit)].slice(0, -1).join('')}…`
}

function boundedFacts(
  facts: Readonly<Record<string, string | number>>,
): Readonly<Record<string, string | number>> {
  const entries = Object.entries(facts)
  if (entries.length > MAX_FACTS)
    throw new AuditError(
      'ERR_AUDIT_EVENT',
      `an event has ${entries.length} facts; at most ${MAX_FACTS} are recorded`,
    )
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (!/^[a-z][A-Za-z0-9]{0,39}$/.test(key) || /token|secret|password|privatekey/i.test(key))
        throw new AuditError(
          'ERR_AUDIT_EVENT',
          `the fact ${JSON.stringify(bounded(key, 80))} cannot be recorded: a key is a word in camelCase and never names a secret`,
        )
      if (typeof value === 'string') return [key, boundedName(value)]
      if (!Number.isFinite(value))
        throw new AuditError('ERR_AUDIT_EVENT', `the fact ${key} is ${value}, not a finite number`)
      return [key, value]
    }),
  )
}
