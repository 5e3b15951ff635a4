import type { Logger } from '@hanse/contract'

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
