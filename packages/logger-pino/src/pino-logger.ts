import type { LogFields, Logger } from '@hanse/contract'
import { pino } from 'pino'

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
}

const STDERR = 2

/**
 * One JSON object a line, written before the call returns: the last words before a crash are there. An error among
 * the fields keeps its code, message, stack and cause.
 */
export function createPinoLogger({ level, destination = STDERR }: PinoLoggerOptions): Logger {
  const target = pino.destination({ dest: destination, sync: true, append: true, mode: 0o600 })
  const base = pino(
    {
      level,
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
  return adapt(base)
}

function adapt(logger: pino.Logger): Logger {
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
    child: (fields: LogFields) => adapt(logger.child(fields)),
  }
}
