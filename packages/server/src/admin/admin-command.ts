import type { JsonObject, StoredJob } from '@hanse/contract'
import type { AdminSession } from './admin-sessions.ts'
import type { ReplyBuilder } from './reply-builder.ts'

export interface UploadedFile {
  /** Removed when the command is done. */
  readonly path: string
  readonly size: number
}

/** One use of a command, after every check. */
interface CommandInvocation {
  readonly session: AdminSession
  /** Words after the command's name. */
  readonly words: readonly string[]
  readonly meta: JsonObject
  readonly upload: UploadedFile | undefined
  readonly reply: ReplyBuilder
  readonly signal: AbortSignal
}

interface JobCommandInvocation extends CommandInvocation {
  readonly job: StoredJob
}

interface CommandDescription {
  readonly scope: string
  readonly name: string
  readonly description: string
  readonly usage: string
  /** What a console asks before it sends it. */
  readonly confirm: 'none' | 'yesno' | 'auth'
  /** The tool's own procedure that must be used instead of sending the command (`spec/admin.md` §5). */
  readonly clientProcedure?: string | undefined
  /** Its first word names the participant it is about; goes into the record. */
  readonly aboutParticipant?: boolean | undefined
  /** The policy must grant one of them; empty: being logged in is enough. */
  readonly rights: readonly string[]
}

/** A command about no job in particular. */
export interface GeneralCommand extends CommandDescription {
  readonly kind: 'general'
  run(invocation: CommandInvocation): void | Promise<void>
}

/** A command whose first word is the id of a job, which must be of the session's study (`spec/admin.md` §11). */
export interface JobCommand extends CommandDescription {
  readonly kind: 'job'
  run(invocation: JobCommandInvocation): void | Promise<void>
}

/** A command for people. Throws `CommandFailure` for what the person can understand. */
export type AdminCommand = GeneralCommand | JobCommand
