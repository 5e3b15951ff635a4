import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionSecurity, systemClock } from '@hanse/contract'
import { parseProject, provision, type Scheme } from '@hanse/provision'
import { freePort } from './free-port.ts'
import { type CommandResult, Place, runHanse, testEnvironment } from './hanse.ts'

export interface LeagueOptions {
  readonly name?: string
  readonly sites?: readonly string[]
  /** Where its server is said to be; default: a free port. */
  readonly port?: number
  /** What its links are made of; default `tcp`. */
  readonly scheme?: Scheme
  /** How links are protected; default `mtls`. */
  readonly security?: ConnectionSecurity
  /** Where sites dial instead of the server's own address, by site. */
  readonly connectTo?: ReadonlyMap<string, { readonly host: string; readonly port: number }>
  /** Text of its project file, instead of one made from the options above; `sites` and `server` say who is started. */
  readonly project?: string
  /** Files that the project file names, by their paths beside it. */
  readonly projectFiles?: Readonly<Record<string, string>>
  /** Name of the server in `project`; default {@link SERVER}. */
  readonly server?: string
  /** When its kits are made, in days from now; default 0. */
  readonly madeDaysAgo?: number
  /** Kit files to change before anything starts. */
  readonly prepare?: (league: League) => Promise<void>
}

export const LEAD = 'lead@example.org'
export const SERVER = 'server1'

/** A provisioned league of real processes in a temporary folder; disposing stops them and removes it. */
export class League implements AsyncDisposable {
  readonly folder: string
  readonly sites: readonly string[]
  readonly port: number
  readonly server: string
  readonly env: NodeJS.ProcessEnv
  readonly places = new Map<string, Place>()
  readonly #kits = new Map<string, string>()

  private constructor(folder: string, port: number, options: LeagueOptions) {
    this.folder = folder
    this.port = port
    this.sites = options.sites ?? ['site-1', 'site-2']
    this.server = options.server ?? SERVER
    this.env = testEnvironment(join(folder, 'config'))
  }

  /** Provisions a league; nothing runs yet. */
  static async provision(options: LeagueOptions = {}): Promise<League> {
    const folder = await mkdtemp(join(tmpdir(), 'hanse-league-'))
    const port = options.port ?? (await freePort())
    const league = new League(folder, port, options)
    await mkdir(join(folder, 'config'))
    const project = options.project ?? projectFile(league, options)
    for (const [path, text] of Object.entries(options.projectFiles ?? {}))
      await writeFile(join(folder, path), text)
    await writeFile(join(folder, 'project.yml'), project)
    if (options.madeDaysAgo !== undefined)
      await league.#provisionInThePast(project, options.madeDaysAgo)
    else await league.#provisionNow()
    await options.prepare?.(league)
    return league
  }

  async #provisionNow(): Promise<void> {
    const { folder } = this
    const result = await this.hanse(
      'provision',
      join(folder, 'project.yml'),
      '--out',
      join(folder, 'kits'),
    )
    if (result.code !== 0)
      throw new Error(`provisioning failed:\n${result.stdout}\n${result.stderr}`)
    for (const { name, kit } of (result.json?.['participants'] ?? []) as {
      name: string
      kit: string
    }[])
      this.#kits.set(name, kit)
  }

  /** No command makes expired kits: this one calls what the command calls, with another clock. */
  async #provisionInThePast(project: string, daysAgo: number): Promise<void> {
    const now = Date.now() - daysAgo * 86_400_000
    const { kits } = await provision(
      parseProject(project),
      { clock: { ...systemClock, now: () => now } },
      {
        outDirectory: join(this.folder, 'kits'),
        configDirectory: join(this.folder, 'config', 'hanse'),
      },
    )
    for (const { name, directory } of kits) this.#kits.set(name, directory)
  }

  /** Provisions a league and starts its server and every site. */
  static async start(options: LeagueOptions = {}): Promise<League> {
    const league = await League.provision(options)
    try {
      await league.startPlace(league.server)
      await Promise.all(league.sites.map((site) => league.startPlace(site)))
      return league
    } catch (error) {
      await league[Symbol.asyncDispose]()
      throw error
    }
  }

  kit(name: string): string {
    const kit = this.#kits.get(name)
    if (kit === undefined) throw new Error(`no kit of ${name}`)
    return kit
  }

  /** Starts a place and waits until it is ready. */
  async startPlace(name: string): Promise<Place> {
    const place = this.launch(name)
    await place.event('ready')
    return place
  }

  /** Starts a place without waiting. */
  launch(name: string, kit = this.kit(name)): Place {
    const place = new Place(name, kit, this.env)
    this.places.set(name, place)
    return place
  }

  place(name: string): Place {
    const place = this.places.get(name)
    if (place === undefined) throw new Error(`${name} was not started`)
    return place
  }

  /** Runs `hanse <args> --json`. */
  hanse(...args: string[]): Promise<CommandResult> {
    return runHanse([...args, '--json'], this.env)
  }

  /** Runs `hanse <args> --json --as <the lead's kit>`. */
  asLead(...args: string[]): Promise<CommandResult> {
    return this.hanse(...args, '--as', this.kit(LEAD))
  }

  /** Submits a job folder and returns its id. */
  async submit(folder: string): Promise<string> {
    const result = await this.asLead('job', 'submit', folder)
    if (result.code !== 0) throw new Error(`submission failed:\n${result.stdout}\n${result.stderr}`)
    return String(result.json?.['job'])
  }

  /** Waits for the end of a job and returns its status. */
  async wait(job: string, timeoutSeconds = 90): Promise<string> {
    const result = await this.asLead('job', 'wait', job, '--timeout', String(timeoutSeconds))
    return String(result.json?.['status'] ?? result.stdout + result.stderr)
  }

  /** The job's meta. */
  async show(job: string): Promise<Record<string, unknown>> {
    return (await this.asLead('job', 'show', job)).json ?? {}
  }

  /** Downloads the result and returns its folder. */
  async download(job: string): Promise<string> {
    const out = join(this.folder, 'downloads')
    const result = await this.asLead('job', 'download', job, '--out', out)
    if (result.code !== 0) throw new Error(`download failed:\n${result.stdout}\n${result.stderr}`)
    return String(result.json?.['folder'])
  }

  /** Entries of a place's record. */
  async record(name: string): Promise<Record<string, unknown>[]> {
    const result = await this.hanse('audit', 'show', this.kit(name))
    return (result.json?.['entries'] ?? []) as Record<string, unknown>[]
  }

  /**
   * Processes, other than ours, that have this league's folder in their command line or as their directory. The
   * directory is the last word of `command`: a job's process is told its folder after its start, and goes there.
   */
  async processes(): Promise<{ readonly pid: number; readonly command: string }[]> {
    const found: { pid: number; command: string }[] = []
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry)
      if (!Number.isInteger(pid) || pid === process.pid) continue
      try {
        const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8'))
          .replaceAll('\0', ' ')
          .trim()
          .concat(' ', await readlink(`/proc/${pid}/cwd`).catch(() => ''))
        if (command.includes(this.folder)) found.push({ pid, command })
      } catch {
        // It ended while we looked.
      }
    }
    return found
  }

  /** Processes of this league that `pid` started itself. */
  async childrenOf(pid: number): Promise<number[]> {
    const children: number[] = []
    for (const { pid: each } of await this.processes())
      if ((await parentOf(each)) === pid) children.push(each)
    return children
  }

  /** Commands of processes that should not be there between jobs: neither a place nor the one that waits at it. */
  async leftovers(): Promise<readonly string[]> {
    const places = new Set([...this.places.values()].map(({ pid }) => pid))
    const withSpare = new Set<number>()
    const left: string[] = []
    for (const { pid, command } of await this.processes()) {
      if (places.has(pid) || command.includes(' start ')) continue
      const parent = await parentOf(pid)
      const waits = command.includes('job-process') && command.endsWith('/state/runs')
      if (waits && places.has(parent) && !withSpare.has(parent)) withSpare.add(parent)
      else left.push(command)
    }
    return left
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const places = [...this.places.values()]
    await Promise.all(
      places.filter(({ name }) => name !== this.server).map((place) => place.stop()),
    )
    await Promise.all(places.map((place) => place.stop()))
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** 0 for a process that is gone. */
async function parentOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/^PPid:\s+(\d+)$/m.exec(status)?.[1] ?? 0)
}

function projectFile(
  { port, sites }: League,
  { name = 'test_league', scheme = 'tcp', security = 'mtls', connectTo }: LeagueOptions,
): string {
  return `api_version: 3
name: ${name}
description: a league for tests
connection_security: ${security}
participants:
  - name: ${SERVER}
    type: server
    org: league
    default_host: localhost
    host_names: [127.0.0.1]
    fed_learn_port: ${port}
${sites.map((site) => siteEntry(site, connectTo?.get(site))).join('\n')}
  - { name: ${LEAD}, type: admin, org: league, role: lead }
  - { name: boss@example.org, type: admin, org: league, role: project_admin }
  - { name: member@example.org, type: admin, org: league, role: member }
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { config_folder: config, scheme: ${scheme} }
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
`
}

function siteEntry(site: string, address: { host: string; port: number } | undefined): string {
  const connectTo = address && `, connect_to: { host: ${address.host}, port: ${address.port} }`
  return `  - { name: ${site}, type: client, org: ${site.replaceAll('-', '_')}${connectTo ?? ''} }`
}
