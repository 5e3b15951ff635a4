/** How a process ended. */
export interface ProcessExit {
  /** Exit code; `null` when a signal ended it. */
  readonly code: number | null
  /** E.g. `SIGKILL`; `null` when it ended by itself. */
  readonly signal: string | null
  /** The last lines of its error stream, bounded. For the place it ran at; never sent anywhere. */
  readonly errorTail: readonly string[]
}

/** `exit code 1`, or `signal SIGKILL (killed: …)`; names nothing that the program wrote. */
export function describeExit({ code, signal }: Pick<ProcessExit, 'code' | 'signal'>): string {
  if (signal === null) return `exit code ${code}`
  const hint = HINTS.get(signal)
  return hint === undefined ? `signal ${signal}` : `signal ${signal} (${hint})`
}

const HINTS: ReadonlyMap<string, string> = new Map([
  ['SIGKILL', 'killed from outside, or by the system for lack of memory'],
  ['SIGABRT', 'it aborted itself, often for lack of memory'],
  ['SIGSEGV', 'it crashed in native code'],
  ['SIGXFSZ', 'it wrote a file past the size limit'],
  ['SIGXCPU', 'it used more processor time than allowed'],
])
