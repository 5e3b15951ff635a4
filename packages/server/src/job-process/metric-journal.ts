import type { Clock, Logger } from '@hanse/contract'
import type { Dxo, EventHandler, RunEvent, RunFiles } from '@hanse/learning'

/** One number that a trainer logged, as `metrics.jsonl` of the result has it. */
export interface MetricLine {
  readonly site: string
  readonly key: string
  readonly value: number
  /** The trainer's own count, if it gave one. */
  readonly step?: number
  /** When it came to the server; UTC, ISO 8601. */
  readonly time: string
}

export interface MetricJournalComponents {
  readonly files: RunFiles
  readonly clock: Clock
  readonly logger: Logger
}

const FILE = 'metrics.jsonl'
const MAX_KEY_CHARS = 200
/** Numbers in one event. */
const MAX_VALUES = 1_000
const encoder = new TextEncoder()

/** Writes the numbers that trainers log into the result. */
export class MetricJournal implements EventHandler {
  readonly #components: MetricJournalComponents
  #bytesLeft: number

  /** @param maxBytes of the file; what comes past it is left out */
  constructor(components: MetricJournalComponents, maxBytes: number = 64 * 1024 * 1024) {
    this.#components = components
    this.#bytesLeft = maxBytes
  }

  async onEvent(event: RunEvent): Promise<void> {
    if (event.type !== 'site-event' || event.dxo?.kind !== 'ANALYTIC') return
    const { files, clock, logger } = this.#components
    if (this.#bytesLeft <= 0) return
    const time = new Date(clock.now()).toISOString()
    const lines = metricsOf(event.dxo).map(
      (metric): MetricLine => ({
        site: event.site,
        ...metric,
        time,
      }),
    )
    if (lines.length === 0) return
    const bytes = encoder.encode(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    this.#bytesLeft -= bytes.length
    if (this.#bytesLeft < 0) logger.warn('metrics are not written any more: their file is full')
    else await files.append(FILE, bytes)
  }
}

/** Finite numbers of an analytics event: one (`SCALAR`, `METRIC`) or several by name (`SCALARS`, `METRICS`). */
function metricsOf({ data }: Dxo): { key: string; value: number; step?: number }[] {
  if (!(data instanceof Map)) return []
  const track = data.get('track_key')
  const step = data.get('global_step')
  if (typeof track !== 'string') return []
  const value = data.get('track_value')
  const values: readonly (readonly [unknown, unknown])[] =
    value instanceof Map
      ? [...value].slice(0, MAX_VALUES).map(([name, part]) => [`${track}/${String(name)}`, part])
      : [[track, value]]
  return values.flatMap(([key, number]) =>
    typeof key === 'string' &&
    key.length <= MAX_KEY_CHARS &&
    typeof number === 'number' &&
    Number.isFinite(number)
      ? [{ key, value: number, ...(isStep(step) && { step }) }]
      : [],
  )
}

function isStep(step: unknown): step is number {
  return typeof step === 'number' && Number.isSafeInteger(step)
}
