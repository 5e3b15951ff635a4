import { messageOf, PlatformError } from '@hanse/contract'

/** How the process ends. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Somebody who may decide said no: a policy, a check of a job, a kit that must not be used. */
  refused: 3,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export type CliErrorCode =
  | 'ERR_USAGE'
  /** Nobody said as whom. */
  | 'ERR_KIT_NEEDED'
  | 'ERR_TIMEOUT'
  | 'ERR_INTERRUPTED'
  | 'ERR_FILE'
  | 'ERR_RECORD_BROKEN'

/** A command could not do what it was asked to. */
export class CliError extends PlatformError<CliErrorCode> {
  readonly hint: string

  constructor(code: CliErrorCode, message: string, hint: string, options?: ErrorOptions) {
    super(code, message, {}, options)
    this.hint = hint
  }
}

export interface ErrorDescription {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly exitCode: ExitCode
}

const USAGE: ReadonlySet<string> = new Set(['ERR_USAGE', 'ERR_KIT_NEEDED', 'ERR_KIT_TYPE'])

const REFUSED: ReadonlySet<string> = new Set([
  'ERR_NOT_AUTHORIZED',
  'ERR_LOGIN_REFUSED',
  'ERR_SERVER_IDENTITY',
  'ERR_JOB_INVALID',
  'ERR_JOB_FOLDER',
  'ERR_KIT_FILE',
  'ERR_KIT_MANIFEST',
  'ERR_KIT_MANIFEST_MISSING',
  'ERR_KIT_INTEGRITY',
  'ERR_KIT_KEY_MODE',
  'ERR_KEY_MISMATCH',
  'ERR_PARTICIPANT_CHANGED',
  'ERR_PASSPHRASE_WRONG',
  'ERR_NAME_IN_USE',
  'ERR_SITE_REFUSED',
])

/** What to do about errors of packages that give no hint themselves. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['ERR_PROJECT_FILE', 'mend the project file; every place that is wrong is listed'],
  ['ERR_PASSPHRASE_NEEDED', 'give the passphrase with --passphrase-file or HANSE_CA_PASSPHRASE'],
  [
    'ERR_PASSPHRASE_WRONG',
    'give the passphrase that was chosen when the project was first provisioned',
  ],
  [
    'ERR_PARTICIPANT_CHANGED',
    'give --reissue with the name to make a new kit; the old one stays valid',
  ],
  ['ERR_OUTPUT', 'choose another folder with --out'],
  ['ERR_KIT_TYPE', 'give the folder of a startup kit, the one that holds startup/ and local/'],
  ['ERR_KIT_INTEGRITY', 'restore the kit as it was delivered; your own settings belong in local/'],
  ['ERR_KIT_MANIFEST', 'restore the kit as it was delivered'],
  ['ERR_KIT_MANIFEST_MISSING', 'restore the kit as it was delivered'],
  ['ERR_KIT_KEY_MODE', 'make the key readable for its owner only: chmod 600'],
  ['ERR_LISTEN', 'another program may have the port; see which with ss -ltnp'],
  ['ERR_NAME_IN_USE', 'stop the other process that runs with this kit first'],
  [
    'ERR_AUDIT_BROKEN',
    'keep the record as it is and find out who changed it: hanse audit verify tells where',
  ],
  ['ERR_AUDIT_READ', 'a place has a record once it was started'],
])

/** Every error as a code, a sentence and a next step. */
export function describeError(error: unknown): ErrorDescription {
  if (error instanceof PlatformError) {
    const { code, message } = error
    return { code, message, hint: hintOf(error), exitCode: exitCodeOf(code) }
  }
  return {
    code: 'ERR_UNEXPECTED',
    message: messageOf(error),
    hint: 'this should not happen: run again with HANSE_LOG_LEVEL=debug and report it',
    exitCode: EXIT.failed,
  }
}

/** Some packages' errors bring a hint; which ones is not asked, so that no package is loaded for it. */
function hintOf(error: PlatformError<string>): string {
  const own = 'hint' in error && typeof error.hint === 'string' ? error.hint : undefined
  return own ?? HINTS.get(error.code) ?? ''
}

function exitCodeOf(code: string): ExitCode {
  if (USAGE.has(code)) return EXIT.usage
  // Certificates that do not fit are refused by whoever reads them first.
  return REFUSED.has(code) || code.startsWith('ERR_CERT_') ? EXIT.refused : EXIT.failed
}
