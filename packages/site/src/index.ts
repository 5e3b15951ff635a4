export {
  type ExternalCell,
  type JoinLeagueComponents,
  type JoinLeagueOptions,
  joinLeague,
  type LeagueSnapshot,
  type MessageHandler,
} from './external-cell/join-league.ts'
export type { ServerLinkEvent } from './link/server-link.ts'
export { type RunSiteOptions, runSite, type SiteEvent } from './run-site.ts'
export { SiteError, type SiteErrorCode } from './site-error.ts'
