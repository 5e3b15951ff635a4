export type LogFields = Readonly<Record<string, unknown>>

/** For operators: a constant message plus fields. Nothing secret; peers' texts only at `debug`. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to everything it writes. */
  child(fields: LogFields): Logger
}

/** Writes nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
}
