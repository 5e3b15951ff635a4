import { randomUUID } from 'node:crypto'
import type { Clock } from '@hanse/contract'
import type { ActingPerson } from '@hanse/session'
import { readSessionToken, type TextSigner, writeSessionToken } from './session-token.ts'

/** One login of one person. */
export interface AdminSession {
  readonly id: string
  readonly person: ActingPerson
  readonly study: string
  /** The cell that logged in; the session is of no use to another. */
  readonly cell: string
  /** Fingerprint of the certificate that logged in. */
  readonly fingerprint: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly lastActive: number
}

/** Who sends a message: the claims of its verified token (`TokenGuard.claimsOf`). */
export interface Caller {
  readonly name: string
  readonly cell: string
  readonly fingerprint: string
}

/** The session that a command belongs to, or why there is none. */
export type SessionVerdict =
  | { readonly ok: true; readonly session: AdminSession }
  | {
      readonly ok: false
      readonly code: 'token-missing' | 'token-invalid' | 'session-unknown' | 'session-foreign'
      readonly reason: string
    }

export interface AdminSessionsComponents {
  readonly clock: Clock
  readonly signer: TextSigner
  /** A session ended by idling, or its place was needed: cancel what belongs to it and tell its cell. */
  onExpired(session: AdminSession): void
}

export interface AdminSessionsOptions {
  /** Default 1800 s, as stock. */
  readonly idleTimeoutMs?: number | undefined
  /** Default 1000; past it the session that was idle longest ends. */
  readonly maxSessions?: number | undefined
  /** Default 10; past it that person's session that was idle longest ends. */
  readonly maxSessionsPerPerson?: number | undefined
}

/**
 * The people who are logged in. Unlike stock (`spec/admin.md` §3.2) a token is good only for the cell and the
 * certificate it was issued to, and never brings back a session that ended: not after logout, not after idling,
 * not after a restart. Tools log in anew.
 */
export class AdminSessions {
  readonly #components: AdminSessionsComponents
  readonly #idleTimeoutMs: number
  readonly #maxSessions: number
  readonly #maxSessionsPerPerson: number
  /** In order of last activity. */
  readonly #sessions = new Map<string, AdminSession>()

  constructor(components: AdminSessionsComponents, options: AdminSessionsOptions = {}) {
    this.#components = components
    this.#idleTimeoutMs = options.idleTimeoutMs ?? 1_800_000
    this.#maxSessions = options.maxSessions ?? 1000
    this.#maxSessionsPerPerson = options.maxSessionsPerPerson ?? 10
  }

  /** Opens a session for a person whose identity has been proven. */
  open(
    person: ActingPerson,
    study: string,
    caller: Caller,
  ): { readonly session: AdminSession; readonly token: string } {
    this.sweep()
    const ofPerson = [...this.#sessions.values()].filter(
      ({ person: { name } }) => name === person.name,
    )
    if (ofPerson.length >= this.#maxSessionsPerPerson) this.#expire(ofPerson[0]!)
    if (this.#sessions.size >= this.#maxSessions)
      this.#expire(this.#sessions.values().next().value!)
    const now = this.#components.clock.now()
    const session: AdminSession = {
      id: randomUUID(),
      person,
      study,
      cell: caller.cell,
      fingerprint: caller.fingerprint,
      startedAt: now,
      lastActive: now,
    }
    this.#sessions.set(session.id, session)
    const token = writeSessionToken(
      {
        user: person.name,
        role: person.role,
        organization: person.organization,
        sessionId: session.id,
        study,
      },
      this.#components.signer,
    )
    return { session, token }
  }

  /** Finds the session of a command and notes that it was used. */
  use(token: string | undefined, caller: Caller): SessionVerdict {
    if (token === undefined)
      return { ok: false, code: 'token-missing', reason: 'not authenticated - no token' }
    const claims = readSessionToken(token, this.#components.signer)
    if (claims === undefined)
      return {
        ok: false,
        code: 'token-invalid',
        reason: 'the session token was not issued by this server; log in again',
      }
    this.sweep()
    const session = this.#sessions.get(claims.sessionId)
    if (session === undefined)
      return {
        ok: false,
        code: 'session-unknown',
        reason:
          'the session has ended: it was logged out, idle for too long, or the server was restarted; log in again',
      }
    if (
      session.cell !== caller.cell ||
      session.fingerprint !== caller.fingerprint ||
      session.person.name !== caller.name
    )
      return {
        ok: false,
        code: 'session-foreign',
        reason: 'the session belongs to another connection; log in from this one',
      }
    return { ok: true, session: this.touch(session) }
  }

  /** Notes activity, e.g. progress of a download. */
  touch(session: AdminSession): AdminSession {
    const known = this.#sessions.get(session.id)
    if (known === undefined) return session
    const touched = { ...known, lastActive: this.#components.clock.now() }
    this.#sessions.delete(session.id)
    this.#sessions.set(session.id, touched)
    return touched
  }

  /** Ends a session at its person's wish. */
  close(session: AdminSession): void {
    this.#sessions.delete(session.id)
  }

  /** Ends the sessions of a cell whose link is gone; it must log in again anyway. */
  closeOf(cell: string): readonly AdminSession[] {
    const ended = [...this.#sessions.values()].filter((session) => session.cell === cell)
    for (const session of ended) this.#sessions.delete(session.id)
    return ended
  }

  list(): readonly AdminSession[] {
    return [...this.#sessions.values()]
  }

  /** Ends what was idle for too long. */
  sweep(): void {
    const limit = this.#components.clock.now() - this.#idleTimeoutMs
    for (const session of this.#sessions.values()) {
      if (session.lastActive > limit) return
      this.#expire(session)
    }
  }

  #expire(session: AdminSession): void {
    this.#sessions.delete(session.id)
    this.#components.onExpired(session)
  }
}
