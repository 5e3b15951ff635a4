/** Facts for logs: numbers, names and ids. Never keys, tokens or payloads. */
export type ErrorDetails = Readonly<Record<string, string | number>>

/**
 * Base of every error that Hanse throws on purpose. A package has one subclass and one code per reason;
 * codes are API: compare them, not messages and not classes of another package.
 */
export abstract class PlatformError<Code extends string = string> extends Error {
  readonly code: Code
  readonly details: ErrorDetails

  constructor(code: Code, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.details = details
  }
}

/** True for an error of any Hanse package that carries `code`. */
export function hasCode(error: unknown, code: string): error is PlatformError {
  return error instanceof Error && 'code' in error && error.code === code
}

/** What a thrown value says, for messages that quote a cause. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
