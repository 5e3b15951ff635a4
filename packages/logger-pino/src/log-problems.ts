/** A warning or an error in a log. */
export interface LogProblem {
  readonly level: 'warn' | 'error'
  /** ISO 8601. */
  readonly time: string
  readonly message: string
}

const MARKS = ['"level":"error"', '"level":"warn"']

/**
 * Reads warnings and errors back out of lines that a logger of this package wrote; other lines, and what cannot be
 * read, pass.
 * @param since only those after this moment, ms since the epoch
 */
export function problemsInLog(text: string, since = 0): readonly LogProblem[] {
  const problems: LogProblem[] = []
  for (const line of text.split('\n')) {
    if (!MARKS.some((mark) => line.includes(mark))) continue
    const problem = problemIn(line)
    if (problem !== undefined && Date.parse(problem.time) > since) problems.push(problem)
  }
  return problems
}

function problemIn(line: string): LogProblem | undefined {
  let entry: unknown
  try {
    entry = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof entry !== 'object' || entry === null) return undefined
  const { level, time, message } = entry as Readonly<Record<string, unknown>> // members are checked
  if (level !== 'warn' && level !== 'error') return undefined
  if (typeof time !== 'string' || typeof message !== 'string') return undefined
  return { level, time, message }
}
