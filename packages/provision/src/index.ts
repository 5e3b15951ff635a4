export type { Dataset } from './kit/datasets.ts'
export type { ExternalCellPolicy, ExternalCellRule } from './kit/hanse-settings.ts'
export {
  CONFINEMENT_LEVELS,
  type ConfinementLevel,
  DEFAULT_HANSE_SETTINGS,
  type HanseSettings,
  type LinkRequirements,
  type TrainerRuntime,
} from './kit/hanse-settings.ts'
export type { AdminKit, Kit, KitServer, ServerKit, SiteKit } from './kit/kit.ts'
export type {
  AdminSettings,
  ComponentPolicy,
  ServerSettings,
  SiteSettings,
} from './kit/kit-settings.ts'
export { type KnownServer, readKnownServer, rememberServer } from './kit/known-server.ts'
export { type LoadKitOptions, loadKit } from './kit/load-kit.ts'
export { OutboundProxy } from './kit/outbound-proxy.ts'
export {
  decideScope,
  describePrivacy,
  type PrivacyPolicy,
  type PrivacyScope,
  type ScopeDecision,
  type ScopeFilter,
  tryPrivacyFilters,
} from './kit/privacy-policy.ts'
export { heartbeatOf, linkSecurity, provenIdentities, serverUrl } from './kit/server-link.ts'
export { MAX_PROJECT_CHARACTERS, parseProject } from './project/parse-project.ts'
export type {
  Address,
  AdminParticipant,
  AnyParticipant,
  Project,
  Scheme,
  ServerParticipant,
  SiteParticipant,
  Study,
} from './project/project.ts'
export {
  type ProvisionedKit,
  type ProvisionOptions,
  type ProvisionResult,
  provision,
} from './provision.ts'
export { ProvisionError, type ProvisionErrorCode } from './provision-error.ts'
export { type AskPassphrase, MIN_PASSPHRASE_CHARACTERS } from './state/ca-passphrase.ts'
