import { COMMAND_STATUS, logLevelOf, type PlaceLogLevel } from '@hanse/session'
import { CommandFailure } from '../reply-builder.ts'

/**
 * Reads a level as stock's tools give it. Logs of Hanse are JSON lines always: stock's modes of layout mean nothing.
 * @returns `reload` for the level that the place was started with
 * @throws {CommandFailure} `syntax_error`
 */
export function readLogLevel(text: string): PlaceLogLevel | 'reload' {
  const level = text.trim().toLowerCase() === 'reload' ? 'reload' : logLevelOf(text)
  if (level !== undefined) return level
  throw new CommandFailure(
    COMMAND_STATUS.syntaxError,
    `'${text.slice(0, 64)}' is no level of a log: give DEBUG, INFO, WARNING, ERROR or reload; layouts such as concise and full are not in Hanse`,
  )
}
