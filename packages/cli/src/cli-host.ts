import type { AdminSession } from '@hanse/admin'
import type { AbortOptions, Clock } from '@hanse/contract'
import type { Diagnosis } from '@hanse/doctor'
import type { AdminKit, Kit } from '@hanse/provision'
import type { PlaceEnd, RunServerOptions } from '@hanse/server'
import type { RunSiteOptions } from '@hanse/site'
import type { PlaceLogger } from './output/tee-logger.ts'

/** A stream of text that a person or a program reads. */
export interface TextStream {
  write(text: string): void
  /** True where lines can be drawn anew. */
  readonly isTerminal: boolean
  /** Characters of a line; terminals only. */
  readonly columns: number
}

export interface DiagnoseOptions {
  /** How long a link is held to see whether it lasts. Default 0. */
  readonly idleMs?: number | undefined
}

/** The outside world, handed in: `main.ts` has the real one, tests their own. */
export interface CliHost {
  readonly stdout: TextStream
  readonly stderr: TextStream
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingDirectory: string
  /** Where this user's settings of Hanse live. */
  readonly configDirectory: string
  readonly version: string
  readonly clock: Clock
  /** Fires on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  loadKit(directory: string): Promise<Kit>
  /** What is wrong between the participant whose kit this is and its server. */
  diagnose(directory: string, options?: DiagnoseOptions): Promise<Diagnosis>
  openSession(kit: AdminKit, options: AbortOptions): Promise<AdminSession>
  /** The log of a place: everything into `file`, warnings also to standard error. */
  createLogger(file: string): PlaceLogger
  /** Asks a person for a text that is not shown; `undefined` where nobody can be asked. */
  askSecret(question: string): Promise<string | undefined>
  runServer(options: RunServerOptions): Promise<PlaceEnd>
  runSite(options: RunSiteOptions): Promise<PlaceEnd>
}
