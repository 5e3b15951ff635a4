import { messageOf } from '@hanse/contract'
import { FobsError, type FobsErrorCode } from './fobs-error.ts'

/** What `action` returns; errors of others, such as an application's codec, become a `FobsError` that keeps them. */
export function translated<T>(code: FobsErrorCode, what: string, action: () => T): T {
  try {
    return action()
  } catch (cause) {
    if (cause instanceof FobsError) throw cause
    throw new FobsError(code, `${what}: ${messageOf(cause)}`, {}, { cause })
  }
}
