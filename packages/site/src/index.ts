export { type RunSiteOptions, runSite, type SiteEvent } from './run-site.ts'
export { SiteError, type SiteErrorCode } from './site-error.ts'
