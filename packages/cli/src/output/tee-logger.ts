import type { Logger } from '@hanse/contract'
import type { AdjustableLogger, LogLevel } from '@hanse/logger-pino'

/** The log of a place. */
export interface PlaceLogger extends Logger {
  /** @param level `undefined` is the one that it was made with */
  setLevel(level: LogLevel | undefined): void
}

/** Everything into `file`, up to a level that can be changed, and what it has of its own to `console`. */
export function placeLogger(file: AdjustableLogger, level: LogLevel, console: Logger): PlaceLogger {
  return {
    ...teeLogger([file, console]),
    setLevel: (changed) => file.setLevel(changed ?? level),
  }
}

/** Writes everything to each of `loggers`, which have levels of their own. */
export function teeLogger(loggers: readonly Logger[]): Logger {
  const each = (write: (logger: Logger) => void) => loggers.forEach(write)
  return {
    debug: (message, fields) => each((logger) => logger.debug(message, fields)),
    info: (message, fields) => each((logger) => logger.info(message, fields)),
    warn: (message, fields) => each((logger) => logger.warn(message, fields)),
    error: (message, fields) => each((logger) => logger.error(message, fields)),
    child: (fields) => teeLogger(loggers.map((logger) => logger.child(fields))),
  }
}
