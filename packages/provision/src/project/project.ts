import type { ConnectionSecurity } from '@hanse/contract'

/** What links are made of, by their scheme in URLs and kits. */
export const SCHEMES = ['http', 'grpc', 'tcp'] as const

export type Scheme = (typeof SCHEMES)[number]

/** A league as its project file describes it, with every default filled in (`spec/provision.md` §1). */
export interface Project {
  readonly apiVersion: 3 | 4
  readonly name: string
  readonly description: string
  /** How everybody reaches the server; stock's default is `http`. */
  readonly scheme: Scheme
  readonly rootValidDays: number
  /** Written into kits only if the project file says so. */
  readonly requireSignedJobs: boolean | undefined
  readonly server: ServerParticipant
  readonly sites: readonly SiteParticipant[]
  readonly admins: readonly AdminParticipant[]
  /** Content of the server's `local/study_registry.json`, if there are studies. */
  readonly studies: ReadonlyMap<string, Study> | undefined
  /** What is allowed but looks like a mistake. */
  readonly warnings: readonly string[]
}

interface Participant {
  readonly name: string
  readonly org: string
  readonly connectionSecurity: ConnectionSecurity
  /** PEM file with the root of a proxy, relative to the project file. */
  readonly customCaCert: string | undefined
}

export interface ServerParticipant extends Participant {
  readonly type: 'server'
  readonly port: number
  readonly adminPort: number
  /** Address that others use when they do not choose. */
  readonly defaultHost: string
  readonly hostNames: readonly string[]
}

export interface SiteParticipant extends Participant {
  readonly type: 'site'
  readonly connectTo: Address
  readonly allowLogStreaming: boolean
  readonly gpus: number
  readonly gpuMemoryGib: number
}

export interface AdminParticipant extends Participant {
  readonly type: 'admin'
  readonly role: string
  readonly connectTo: Address
}

export type AnyParticipant = ServerParticipant | SiteParticipant | AdminParticipant

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Study {
  readonly siteOrgs: ReadonlyMap<string, readonly string[]>
  readonly admins: readonly string[]
}
