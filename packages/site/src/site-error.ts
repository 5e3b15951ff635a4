import { PlatformError } from '@hanse/contract'

export type SiteErrorCode =
  /** Another process holds this site's name. */
  | 'ERR_NAME_IN_USE'
  /** The server, or the way to it, does not fit this kit; trying again would not help. */
  | 'ERR_SITE_REFUSED'
  /** A command of the server that this site does not follow. */
  | 'ERR_COMMAND_REFUSED'
  /** The kit cannot run as a site here. */
  | 'ERR_SITE_CONFIG'

/** A site did not start, or did not do what it was told. */
export class SiteError extends PlatformError<SiteErrorCode> {}
