import type { FobsCodec } from '../codec.ts'
import { FobsError } from '../fobs-error.ts'
import type { Hashable } from '../hashable.ts'
import { textData } from '../shape.ts'

const PATTERN =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?(Z|[+-]\d\d:\d\d(?::\d\d(?:\.\d{6})?)?)?$/
const OFFSET = /^([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?$/
const UTC = '+00:00'

/**
 * A Python `datetime` in the text form of its own writer, since microseconds and times without zone do not fit
 * a `Date`.
 */
export class DateTime implements Hashable {
  /** ISO 8601, e.g. `2026-08-01T12:30:45.123456+00:00`; no zone means "naive". */
  readonly text: string
  /** Milliseconds since the epoch, fractional; `undefined` without a zone. */
  readonly epochMs: number | undefined

  /**
   * @param text what Python's `isoformat` writes; `Z` is read as `+00:00`
   * @throws {FobsError} `ERR_FOBS_SHAPE` on any other text or a date that does not exist
   */
  constructor(text: string) {
    const match = PATTERN.exec(text)
    if (match === null) throw invalid()
    const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ] // six groups that always match
    const time = utcTime(year, month, day, hour, minute, second)
    const micros = Number(match[7] ?? 0)
    const zone = match[8] === 'Z' ? UTC : match[8]
    const base = micros === 0 ? text.slice(0, 19) : text.slice(0, 26)
    this.text = `${base}${zone ?? ''}`
    this.epochMs = zone === undefined ? undefined : time + micros / 1000 - offsetMs(zone)
  }

  /** The moment of `date`, in UTC. */
  static of(date: Date): DateTime {
    const iso = date.toISOString()
    if (!/^\d{4}-/.test(iso)) throw invalid()
    return new DateTime(`${iso.slice(0, 23)}000${UTC}`)
  }

  toString(): string {
    return this.text
  }

  hashKey(): string {
    return `d${this.epochMs ?? this.text}`
  }
}

export const dateTimeCodec: FobsCodec<DateTime> = {
  typeName: 'datetime.datetime',
  decomposer: 'nvflare.fuel.utils.fobs.decomposers.core_decomposers.DatetimeDecomposer',
  class: DateTime,
  compose: (data) => new DateTime(textData('datetime.datetime', data)),
  decompose: (time) => time.text,
}

function utcTime(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
): number {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day) // unlike Date.UTC, takes years below 100 as they are
  const exists =
    year >= 1 &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    hour < 24 &&
    minute < 60 &&
    second < 60
  if (!exists) throw invalid()
  return date.setUTCHours(hour, minute, second)
}

function offsetMs(zone: string): number {
  const match = OFFSET.exec(zone)
  if (match === null) throw invalid()
  const [hours, minutes, seconds, micros] = match.slice(2, 6).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ] // four groups, absent ones are 0
  if (hours >= 24 || minutes >= 60 || seconds >= 60) throw invalid()
  const size = ((hours * 60 + minutes) * 60 + seconds) * 1000 + micros / 1000
  return match[1] === '-' ? -size : size
}

function invalid(): FobsError {
  return new FobsError(
    'ERR_FOBS_SHAPE',
    'a datetime must read YYYY-MM-DDTHH:MM:SS[.ffffff][±HH:MM[:SS[.ffffff]]]',
  )
}
