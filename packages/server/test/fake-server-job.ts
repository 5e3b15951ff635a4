import type { JobExit, JobOutcome, ServerJobProcess } from '../src/jobs/server-job-process.ts'

/** A server's job process that a test lets live and die. */
export class FakeServerJob implements ServerJobProcess {
  /** What it was told, e.g. `dead site-1 certain: why`. */
  readonly told: string[] = []
  isDisposed = false
  /** False for one that does not stop when it is told to. */
  obeys = true
  readonly #ready = Promise.withResolvers<void>()
  readonly #exited = Promise.withResolvers<JobExit>()
  #outcome: JobOutcome | undefined

  readonly ready = this.#ready.promise
  readonly exited = this.#exited.promise

  outcome = (): JobOutcome | undefined => this.#outcome

  becomeReady(): void {
    this.#ready.resolve()
  }

  say(outcome: JobOutcome): void {
    this.#outcome = outcome
  }

  exit(code: number | null, signal: string | null = null, lastWords = ''): void {
    this.#exited.resolve({ code, signal, lastWords })
  }

  /** Ends as a process does whose workflows went through. */
  complete(): void {
    this.say({ failed: false, reason: '' })
    this.exit(0)
  }

  reportDead(site: string, reason: string, certain: boolean): void {
    this.told.push(`${certain ? 'gone' : 'doubt'} ${site}: ${reason}`)
  }

  setLogLevel(): void {}

  reportAlive(site: string): void {
    this.told.push(`alive ${site}`)
  }

  async stop(): Promise<void> {
    this.told.push('stop')
    this.exit(this.obeys ? 9 : null, this.obeys ? null : 'SIGKILL')
    await this.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isDisposed = true
    this.exit(null, 'SIGKILL')
  }
}
