import type { AuditEvent } from '@hanse/audit'
import type { AdminSession, Caller } from './admin-sessions.ts'

/** Writes one entry into the record and resolves when it is safe there. */
export type RecordEvent = (event: AuditEvent) => Promise<void>

/** What a person did or tried. */
export type PersonAct = Pick<AuditEvent, 'act' | 'job' | 'target'>

/** Commands that change nothing: a tool that waits sends them every second. */
const READING: ReadonlySet<string> = new Set([
  'list_jobs',
  'get_job_meta',
  'list_job',
  'get_job_log',
  'check_status',
  'admin_check_status',
  'report_version',
  'show_stats',
  'show_errors',
  'hanse.status',
  'hanse.job_progress',
])

const MAX_REMEMBERED_PER_SESSION = 256

/**
 * Records what people do: every refusal and every change, and the first time that a session reads something.
 * What cannot be recorded is not done.
 */
export class CommandRecorder {
  readonly #record: RecordEvent
  readonly #recordRefusal: (event: AuditEvent) => void | Promise<void>
  /** What each session has read, by session id. */
  readonly #seen = new Map<string, Set<string>>()

  constructor(record: RecordEvent, recordRefusal?: (event: AuditEvent) => void) {
    this.#record = record
    this.#recordRefusal = recordRefusal ?? record
  }

  async accepted(session: AdminSession, what: PersonAct): Promise<void> {
    if (READING.has(what.act) && !this.#isNew(session, `${what.act} ${what.job ?? ''}`)) return
    await this.#record({ ...what, actor: actorOf(session), outcome: 'accepted', code: 'allowed' })
  }

  async refused(session: AdminSession, what: PersonAct, code: string, text: string): Promise<void> {
    await this.#recordRefusal({
      ...what,
      actor: actorOf(session),
      outcome: 'refused',
      code,
      text,
    })
  }

  /** A refusal of somebody who has no session. */
  async refusedOutside(
    { name, cell, fingerprint }: Pick<Caller, 'name' | 'cell'> & Partial<Caller>,
    act: string,
    code: string,
    text: string,
  ): Promise<void> {
    const actor = { name, fingerprint, origin: cell }
    await this.#recordRefusal({ actor, act, outcome: 'refused', code, text })
  }

  /** Call when a session has ended. */
  forget(session: AdminSession): void {
    this.#seen.delete(session.id)
  }

  #isNew(session: AdminSession, what: string): boolean {
    const seen = this.#seen.get(session.id) ?? new Set()
    this.#seen.set(session.id, seen)
    if (seen.has(what)) return false
    // Past the limit every use is recorded: rather too much than too little.
    if (seen.size < MAX_REMEMBERED_PER_SESSION) seen.add(what)
    return true
  }
}

function actorOf({ person, cell, fingerprint }: AdminSession): AuditEvent['actor'] {
  return {
    name: person.name,
    org: person.organization,
    role: person.role,
    fingerprint,
    origin: cell,
  }
}
