import type { ConnectionSecurity } from '@hanse/contract'
import type { Identity } from '@hanse/pki'
import type { Dataset } from './datasets.ts'
import type { HanseSettings } from './hanse-settings.ts'
import type { AdminSettings, ServerSettings, SiteSettings } from './kit-settings.ts'
import type { PrivacyPolicy } from './privacy-policy.ts'

/** A startup kit after every check of `loadKit`. */
export type Kit = ServerKit | SiteKit | AdminKit

interface CommonKit {
  /** Name of the participant: the common name of its certificate. */
  readonly name: string
  /** Name of the project, as in challenge and register. */
  readonly project: string
  /** Absolute path. */
  readonly directory: string
  readonly identity: Identity
  readonly server: KitServer
  readonly hanse: HanseSettings
  /** For operators and the record, e.g. that this is a stock kit without a manifest. */
  readonly warnings: readonly string[]
}

/** How this participant reaches the server; for a server, how it is reached. */
export interface KitServer {
  /** Common name of the server's certificate. */
  readonly identity: string
  readonly host: string
  readonly port: number
  /** `tcp` in our kits; stock kits may say `http` or `grpc`. */
  readonly scheme: string
  readonly connectionSecurity: ConnectionSecurity
  /** PEM of the root to trust in mode `tls` behind a proxy, instead of the project's. */
  readonly customRootPem: string | undefined
}

export interface ServerKit extends CommonKit {
  readonly type: 'server'
  readonly listen: { readonly host: string; readonly port: number; readonly adminPort: number }
  readonly settings: ServerSettings
  /** Text of `local/authorization.json` or its `.default`, valid JSON; `undefined`: none, deny everything. */
  readonly authorizationPolicy: string | undefined
  /** Of `local/privacy.json`; `undefined`: none, nothing is filtered. */
  readonly privacyPolicy: PrivacyPolicy | undefined
}

export interface SiteKit extends CommonKit {
  readonly type: 'site'
  readonly settings: SiteSettings
  /** Text of `local/authorization.json` or its `.default`, valid JSON; `undefined`: none, deny everything. */
  readonly authorizationPolicy: string | undefined
  /** Of `local/privacy.json`; `undefined`: none, nothing is filtered. */
  readonly privacyPolicy: PrivacyPolicy | undefined
  readonly datasets: ReadonlyMap<string, Dataset>
}

export interface AdminKit extends CommonKit {
  readonly type: 'admin'
  readonly role: string | undefined
  readonly settings: AdminSettings
  /** Absolute paths. */
  readonly uploadDirectory: string
  readonly downloadDirectory: string
}
