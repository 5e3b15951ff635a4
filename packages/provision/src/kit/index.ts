// The half that reads kits. Places and commands use it: making kits needs a YAML parser and more that they would wait for.
export type { Dataset } from './datasets.ts'
export {
  CONFINEMENT_LEVELS,
  type ConfinementLevel,
  DEFAULT_HANSE_SETTINGS,
  type HanseSettings,
  type LinkRequirements,
  type Requirements,
  type TrainerRuntime,
} from './hanse-settings.ts'
export type { AdminKit, Kit, KitServer, ServerKit, SiteKit } from './kit.ts'
export type {
  AdminSettings,
  ComponentPolicy,
  ServerSettings,
  SiteSettings,
} from './kit-settings.ts'
export { type KnownServer, readKnownServer, rememberServer } from './known-server.ts'
export { type LoadKitOptions, loadKit } from './load-kit.ts'
export type { OutboundProxy } from './outbound-proxy.ts'
export {
  decideScope,
  describePrivacy,
  type PrivacyPolicy,
  type PrivacyScope,
  type ScopeDecision,
  type ScopeFilter,
  tryPrivacyFilters,
} from './privacy-policy.ts'
export { heartbeatOf, linkSecurity, provenIdentities, serverUrl } from './server-link.ts'
