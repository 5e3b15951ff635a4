import type { JobObservation } from '@hanse/admin'
import type { TextStream } from '../cli-host.ts'
import { plainLine } from './plain-text.ts'

const BAR_CELLS = 24
const CLEAR_LINE = '\r\u001b[2K'

/** Shows how far a job is: one line drawn anew on a terminal, one line for each step anywhere else. */
export class ProgressDisplay {
  readonly #stream: TextStream
  #last = ''
  #isLineOpen = false

  constructor(stream: TextStream) {
    this.#stream = stream
  }

  show(observation: JobObservation): void {
    if (this.#stream.isTerminal) {
      const line = barLine(observation).slice(0, Math.max(20, this.#stream.columns - 1))
      this.#stream.write(`${CLEAR_LINE}${line}`)
      this.#isLineOpen = true
      return
    }
    const line = stepLine(observation)
    if (line !== this.#last) this.#stream.write(`${line}\n`)
    this.#last = line
  }

  /** Leaves the line for what comes next. */
  end(): void {
    if (this.#isLineOpen) this.#stream.write(CLEAR_LINE)
    this.#isLineOpen = false
  }
}

/** `[██████░░░░] round 3 of 5 · 2 of 3 sites · accuracy 0.952` */
function barLine({ status, progress }: JobObservation): string {
  if (progress === null || progress.totalRounds === 0) return plainLine(status.toLowerCase())
  const done = Math.min(doneRounds(progress) / progress.totalRounds, 1)
  const filled = Math.round(done * BAR_CELLS)
  const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled)
  return plainLine(`[${bar}] ${roundText(progress)}`)
}

/** Changes with each round, not with each site: one line a round. */
function stepLine({ status, progress }: JobObservation): string {
  if (progress === null || progress.totalRounds === 0) return plainLine(status)
  return plainLine(`round ${progress.round} of ${progress.totalRounds}${metricsText(progress)}`)
}

type Progress = NonNullable<JobObservation['progress']>

function roundText(progress: Progress): string {
  const contributed = progress.sites.filter(({ state }) => state === 'contributed').length
  const sites =
    progress.sites.length > 0 ? ` · ${contributed} of ${progress.sites.length} sites` : ''
  return `round ${progress.round} of ${progress.totalRounds}${sites}${metricsText(progress)}`
}

function metricsText({ metrics }: Progress): string {
  return Object.entries(metrics)
    .slice(0, 2)
    .map(([name, value]) => ` · ${name} ${Number(value.toFixed(4))}`)
    .join('')
}

/** Rounds behind us: the running one counts by the share of sites that are through. */
function doneRounds({ round, sites }: Progress): number {
  const contributed = sites.filter(({ state }) => state === 'contributed').length
  return Math.max(0, round - 1) + (sites.length > 0 ? contributed / sites.length : 0)
}
