import { PlatformError } from '@hanse/contract'

export type ProvisionErrorCode =
  /** The project file is not what it must be; the message lists every place. */
  | 'ERR_PROJECT_FILE'
  /** The stored state cannot be read or was changed by something else. */
  | 'ERR_STATE'
  /** The CA's key is protected and no passphrase (or key file) was given. */
  | 'ERR_PASSPHRASE_NEEDED'
  | 'ERR_PASSPHRASE_WRONG'
  /** A participant's facts changed since its kit was made, and no new kit was asked for. */
  | 'ERR_PARTICIPANT_CHANGED'
  /** The output folder cannot be used. */
  | 'ERR_OUTPUT'
  /** Not a startup kit, or of a type we cannot run. */
  | 'ERR_KIT_TYPE'
  /** A file of the kit is missing, too large or not what it must be. */
  | 'ERR_KIT_FILE'
  /** The certificate says that the kit has a manifest, but there is none. */
  | 'ERR_KIT_MANIFEST_MISSING'
  /** The manifest is not signed by the project's CA, or belongs to another kit. */
  | 'ERR_KIT_MANIFEST'
  /** Files differ from the manifest; the message names them. */
  | 'ERR_KIT_INTEGRITY'
  /** Others than the owner may read the private key. */
  | 'ERR_KIT_KEY_MODE'

/** Provisioning was refused, or a kit must not be used. Never quotes a key or passphrase. */
export class ProvisionError extends PlatformError<ProvisionErrorCode> {}
