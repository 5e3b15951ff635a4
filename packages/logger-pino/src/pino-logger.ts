import type { LogFields, Logger } from '@hanse/contract'
import { pino } from 'pino'
import { RotatingFile } from './rotating-file.ts'

/** From most to least. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** True for the name of a level. */
export function isLogLevel(text: string | undefined): text is LogLevel {
  return LOG_LEVELS.some((level) => level === text)
}

export interface PinoLoggerOptions {
  readonly level: LogLevel
  /** Where lines go: a descriptor, or a file that is made 0600. Default: standard error. */
  readonly destination?: number | string
  /** A file that would grow past this is put aside as `<file>.1`, of which four are kept. Default 10 MiB. */
  readonly maxFileBytes?: number
}

/** A logger whose level can be changed while it is used, for itself and all its children. */
export interface AdjustableLogger extends Logger {
  setLevel(level: LogLevel): void
}

const STDERR = 2
const MAX_FILE_BYTES = 10 * 1024 * 1024
const KEPT_FILES = 4

/**
 * One JSON object a line, written before the call returns: the last words before a crash are there. An error among
 * the fields keeps its code, message, stack and cause.
 */
export function createPinoLogger(options: PinoLoggerOptions): AdjustableLogger {
  const { level, destination = STDERR, maxFileBytes = MAX_FILE_BYTES } = options
  const target =
    typeof destination === 'string'
      ? new RotatingFile(destination, { maxBytes: maxFileBytes, keep: KEPT_FILES })
      : pino.destination({ dest: destination, sync: true })
  const base = pino(
    {
      level: 'debug',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
      serializers: {
        error: pino.stdSerializers.errWithCause,
        cause: pino.stdSerializers.errWithCause,
      },
    },
    target,
  )
  const threshold: Threshold = { rank: rankOf(level) }
  return {
    ...adapt(base, threshold),
    setLevel(changed) {
      threshold.rank = rankOf(changed)
    },
  }
}

/** What a logger and its children have in common. */
interface Threshold {
  rank: number
}

function rankOf(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level)
}

function adapt(logger: pino.Logger, threshold: Threshold): Logger {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields: LogFields = {}): void => {
      if (rankOf(level) >= threshold.rank) logger[level](fields, message)
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => adapt(logger.child(fields), threshold),
  }
}
