import type {
  Address,
  AdminParticipant,
  Project,
  Scheme,
  ServerParticipant,
  SiteParticipant,
  Study,
} from './project.ts'
import type { ProjectFile } from './project-schema.ts'

export interface ProjectProblem {
  readonly path: readonly PropertyKey[]
  readonly what: string
}

type FileParticipant = ProjectFile['participants'][number]
type FileOf<T extends FileParticipant['type']> = Extract<FileParticipant, { type: T }>

const DEFAULT_ROOT_VALID_DAYS = 360

const USUAL_ROLES: ReadonlySet<string> = new Set(['project_admin', 'org_admin', 'lead', 'member'])

/** Checks the rules between participants and fills in every default; an explicit `false` stays (`spec/provision.md` §1). */
export function resolveProject(
  file: ProjectFile,
): { readonly project: Project } | { readonly problems: readonly ProjectProblem[] } {
  const problems: ProjectProblem[] = []
  const warnings: string[] = []
  checkNames(file.participants, problems)

  const fileServer = file.participants.find((participant) => participant.type === 'server')
  if (fileServer === undefined)
    return {
      problems: [
        ...problems,
        { path: ['participants'], what: 'one participant of type server is needed' },
      ],
    }
  const server = resolveServer(fileServer, file)
  const addresses = new Set([server.name, server.defaultHost, ...server.hostNames])

  const addressOf = (
    participant: FileOf<'client' | 'admin'>,
    index: number,
    defaultPort: number,
  ): Address => {
    const connect: {
      name?: string | undefined
      host?: string | undefined
      port?: number | undefined
    } = participant.connect_to ?? {}
    if (connect.name !== undefined && connect.name !== server.name)
      problems.push({
        path: ['participants', index, 'connect_to', 'name'],
        what: `saw ${JSON.stringify(connect.name)}; only the server ${JSON.stringify(server.name)} can be connected to (relays are not in this version)`,
      })
    const host = connect.host ?? server.defaultHost
    if (!addresses.has(host))
      warnings.push(
        `${participant.name} connects to ${host}, which is not an address of the server: fine for a proxy, else add it to host_names`,
      )
    return { host, port: connect.port ?? defaultPort }
  }

  const sites: SiteParticipant[] = []
  const admins: AdminParticipant[] = []
  for (const [index, participant] of file.participants.entries()) {
    if (participant.type === 'client')
      sites.push({
        type: 'site',
        ...common(participant, file),
        connectTo: addressOf(participant, index, server.port),
        allowLogStreaming: participant.allow_log_streaming ?? file.allow_log_streaming ?? true,
        gpus: participant.capacity.num_of_gpus,
        gpuMemoryGib: participant.capacity.mem_per_gpu_in_GiB,
      })
    else if (participant.type === 'admin') {
      if (!USUAL_ROLES.has(participant.role))
        warnings.push(
          `${participant.name} has the role ${participant.role}, which no default policy knows: sites will deny until their policies name it`,
        )
      admins.push({
        type: 'admin',
        ...common(participant, file),
        role: participant.role,
        connectTo: addressOf(participant, index, server.adminPort),
      })
    }
  }
  const studies = resolveStudies(file, sites, admins, problems)
  if (problems.length > 0) return { problems }

  const { rootValidDays, requireSignedJobs, scheme } = builderArguments(file)
  return {
    project: {
      apiVersion: file.api_version,
      name: file.name,
      description: file.description,
      scheme,
      rootValidDays,
      requireSignedJobs,
      server,
      sites,
      admins,
      studies,
      warnings,
    },
  }
}

function checkNames(participants: readonly FileParticipant[], problems: ProjectProblem[]): void {
  const seen = new Map<string, string>()
  let servers = 0
  for (const [index, { name, type }] of participants.entries()) {
    // Folders of two names that differ in case are one on some machines, and people confuse them on all.
    const key = name.toLowerCase()
    const earlier = seen.get(key)
    if (earlier !== undefined)
      problems.push({
        path: ['participants', index, 'name'],
        what: `saw ${JSON.stringify(name)}; ${earlier === name ? 'this name' : JSON.stringify(earlier)} was used before, and case does not count`,
      })
    seen.set(key, name)
    if (type === 'server' && ++servers > 1)
      problems.push({
        path: ['participants', index, 'type'],
        what: 'a second server; exactly one is allowed',
      })
  }
}

function common(participant: FileParticipant, file: ProjectFile) {
  return {
    name: participant.name,
    org: participant.org,
    connectionSecurity: participant.connection_security ?? file.connection_security ?? 'mtls',
    customCaCert: participant.custom_ca_cert ?? file.custom_ca_cert,
  } as const
}

function resolveServer(server: FileOf<'server'>, file: ProjectFile): ServerParticipant {
  return {
    type: 'server',
    ...common(server, file),
    port: server.fed_learn_port,
    adminPort: server.admin_port ?? server.fed_learn_port,
    defaultHost: server.default_host ?? server.name,
    hostNames: [...new Set(server.host_names)],
  }
}

function builderArguments(file: ProjectFile) {
  let rootValidDays = DEFAULT_ROOT_VALID_DAYS
  let requireSignedJobs: boolean | undefined
  // What stock takes when the builder says nothing.
  let scheme: Scheme = 'http'
  for (const { path, args } of file.builders ?? []) {
    if (path === 'nvflare.lighter.impl.cert.CertBuilder')
      rootValidDays = args?.root_valid_days ?? rootValidDays
    if (path === 'nvflare.lighter.impl.static_file.StaticFileBuilder') {
      requireSignedJobs = args?.require_signed_jobs
      scheme = args?.scheme ?? scheme
    }
  }
  return { rootValidDays, requireSignedJobs, scheme }
}

/** The rules of `spec/provision.md` §1.3. */
function resolveStudies(
  file: ProjectFile,
  sites: readonly SiteParticipant[],
  admins: readonly AdminParticipant[],
  problems: ProjectProblem[],
): ReadonlyMap<string, Study> | undefined {
  if (file.studies === undefined) return undefined
  if (file.api_version !== 4) {
    problems.push({ path: ['studies'], what: 'studies need api_version: 4' })
    return undefined
  }
  const orgOf = new Map(sites.map((site) => [site.name, site.org]))
  const people = new Set(admins.map((admin) => admin.name))
  const studies = new Map<string, Study>()
  for (const [name, study] of Object.entries(file.studies)) {
    if (name === 'default')
      problems.push({ path: ['studies', name], what: 'the name "default" is reserved' })
    const siteOrgs = new Map(Object.entries(study?.site_orgs ?? {}))
    const enrolled = new Set<string>()
    for (const [org, members] of siteOrgs)
      for (const [index, site] of members.entries()) {
        const path = ['studies', name, 'site_orgs', org, index]
        if (orgOf.get(site) !== org)
          problems.push({
            path,
            what: `saw ${JSON.stringify(site)}; a client of org ${org} is allowed`,
          })
        if (enrolled.has(site))
          problems.push({ path, what: `${JSON.stringify(site)} was named before in this study` })
        enrolled.add(site)
      }
    for (const [index, person] of (study?.admins ?? []).entries())
      if (!people.has(person))
        problems.push({
          path: ['studies', name, 'admins', index],
          what: `saw ${JSON.stringify(person)}; an admin of this project is allowed`,
        })
    studies.set(name, { siteOrgs, admins: [...new Set(study?.admins ?? [])] })
  }
  return studies
}
