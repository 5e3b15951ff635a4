import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { ConnectionSecurity } from '@hanse/contract'
import type { Scheme } from '@hanse/provision'
import { freePort } from '../../test/support/free-port.ts'
import { Place, runHanse, testEnvironment } from '../../test/support/hanse.ts'
import { pythonRuntime } from './python-runtime.ts'
import { makeSpreadKits, SPREAD_SERVER } from './spread-kits.ts'
import type { StockInstallation } from './stock-installation.ts'
import { StockPlace, stockEnvironment } from './stock-place.ts'

export type Runtime = 'hanse' | 'stock'

export interface InteropLeagueOptions {
  readonly stock: StockInstallation
  /** Whose provisioner makes the kits; `spread`: each place makes its own, with `nvflare cert` and `package`. */
  readonly kits: Runtime | 'spread'
  readonly server: Runtime
  /** Sites and what they run on. */
  readonly sites: Readonly<Record<string, Runtime>>
  /** Sites that have a kit and are not started. */
  readonly spareSites?: readonly string[]
  /** Whether Hanse sites run Python trainers on the stock installation; default: no. */
  readonly python?: boolean
  /** What links are made of; default `tcp`. */
  readonly scheme?: Scheme
  /** How links are protected; default `mtls`. */
  readonly security?: ConnectionSecurity
}

/** What `nvflare --format json …` said. */
export interface StockAnswer {
  readonly code: number
  /** `data` of the answer; may be anything that the command gives. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of a foreign tool
  readonly data: any
  readonly errorCode: string | undefined
  readonly text: string
}

export const SERVER = 'server1'
export const LEAD = 'lead@example.org'
export const BOSS = 'boss@example.org'
/** Sites of the lead's own organization. */
const OWN_SITES: ReadonlySet<string> = new Set(['site-1'])
/** Commands that need no kit. */
const MAKES_KITS: ReadonlySet<string | undefined> = new Set(['provision', 'cert', 'package'])
const run = promisify(execFile)

/** A league in which every place runs on the runtime that a test chooses. */
export class InteropLeague implements AsyncDisposable {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  readonly hanse = new Map<string, Place>()
  readonly stock = new Map<string, StockPlace>()
  readonly #options: InteropLeagueOptions
  readonly #kits: string

  private constructor(folder: string, options: InteropLeagueOptions) {
    this.folder = folder
    this.#options = options
    this.env = testEnvironment(join(folder, 'config'))
    this.#kits = join(folder, 'kits', 'interop_league', 'prod_00')
  }

  /** Provisions kits, starts the server and all sites, and waits until they are logged in. */
  static async start(options: InteropLeagueOptions): Promise<InteropLeague> {
    const league = new InteropLeague(await mkdtemp(join(tmpdir(), 'hanse-interop-')), options)
    try {
      await league.#provision()
      await league.#startServer()
      await Promise.all(Object.keys(options.sites).map((site) => league.startSite(site)))
      return league
    } catch (error) {
      await league[Symbol.asyncDispose]()
      throw error
    }
  }

  kit(name: string): string {
    const isSpread = this.#options.kits === 'spread'
    return join(this.#kits, isSpread && name === SERVER ? SPREAD_SERVER : name)
  }

  /** Runs the stock tool as the lead. */
  nvflare(...args: string[]): Promise<StockAnswer> {
    return this.nvflareAs(LEAD, ...args)
  }

  /** Runs the stock tool as `person`. */
  async nvflareAs(person: string, ...args: string[]): Promise<StockAnswer> {
    const { stock } = this.#options
    const command = ['--format', 'json', '--connect-timeout', '15', ...args]
    const kit = MAKES_KITS.has(args[0]) ? [] : ['--startup-kit', this.kit(person)]
    const { code, text } = await this.#program(join(stock.bin, 'nvflare'), [...command, ...kit])
    const json = parsed(text)
    return {
      code,
      data: json?.['data'],
      errorCode: json?.['error_code'] as string | undefined,
      text,
    }
  }

  /** Runs a program of `interop/programs` with the stock installation's Python. */
  python(program: string, ...args: string[]): Promise<{ code: number; text: string }> {
    const { stock } = this.#options
    const path = join(import.meta.dirname, '..', 'programs', program)
    return this.#program(join(stock.bin, 'python3'), [path, ...args])
  }

  /** Opens the console of a person's kit and types lines into it. @returns what it showed */
  async console(person: string, lines: readonly string[]): Promise<string> {
    const script = join(this.kit(person), 'startup', 'fl_admin.sh')
    const input = join(this.folder, 'console-input.txt')
    await writeFile(input, `${lines.join('\n')}\n`)
    return (await this.#program('bash', ['-c', `bash "$0" < "$1"`, script, input])).text
  }

  /** Submits with the stock tool. @returns the job's id */
  async submit(folder: string): Promise<string> {
    const answer = await this.nvflare('job', 'submit', '-j', folder)
    if (answer.code !== 0) throw new Error(`submission failed: ${answer.text}`)
    return answer.data.job_id
  }

  /** Submits with the FLARE API: the stock tool cannot read configs that have a key `*`. @returns the job's id */
  async submitByApi(folder: string): Promise<string> {
    // The API signs a job where it lies.
    const copy = join(this.folder, 'jobs', basename(folder))
    await cp(folder, copy, { recursive: true })
    const { code, text } = await this.python('submit_job.py', LEAD, this.kit(LEAD), copy)
    const data = parsed(text)?.['data'] as { readonly job_id: string } | undefined
    if (code !== 0 || data === undefined) throw new Error(`submission failed: ${text}`)
    return data.job_id
  }

  /** Waits for the end with the stock tool. @returns the final status, or what went wrong */
  async wait(job: string, timeoutSeconds = 120): Promise<string> {
    const answer = await this.nvflare('job', 'wait', job, '--timeout', String(timeoutSeconds))
    return answer.data?.status ?? answer.text
  }

  /** Downloads with the stock tool. @returns the folder of the result */
  async download(job: string): Promise<string> {
    const answer = await this.nvflare('job', 'download', job, '-o', join(this.folder, 'results'))
    if (answer.code !== 0) throw new Error(`download failed: ${answer.text}`)
    return answer.data.path
  }

  /** Kills the server, which says goodbye to nobody, and starts it again. */
  async restartServer(): Promise<void> {
    const server = this.hanse.get(SERVER)
    server?.kill('SIGKILL')
    await server?.exited
    const stock = this.stock.get(SERVER)
    await stock?.kill()
    // Its job processes have groups of their own.
    if (stock !== undefined)
      for (const pid of await processesIn(stock.kit)) process.kill(pid, 'SIGKILL')
    await this.#startServer()
  }

  async startSite(site: string): Promise<void> {
    if (this.#options.sites[site] === 'hanse') {
      if (this.#options.python === true) await this.#nameRuntimes(site)
      const place = new Place(site, this.kit(site), this.env)
      this.hanse.set(site, place)
      await place.event('ready')
      return
    }
    const place = this.#startStock(site)
    await place.logged(`Successfully registered client:${site}`)
  }

  /** Everything that could say why something failed. */
  async logs(): Promise<string> {
    const parts: string[] = []
    for (const [name, place] of this.hanse) {
      const log = join(this.kit(name), 'state', 'log.jsonl')
      parts.push(`== ${name}`, place.stderr, await readFile(log, 'utf8').catch(() => ''))
    }
    for (const [name, place] of this.stock)
      parts.push(`== ${name}`, (await place.log()).slice(-20_000))
    return parts.join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const sites = [...this.stock, ...this.hanse].filter(([name]) => name !== SERVER)
    await Promise.all(sites.map(([, place]) => place.stop()))
    await Promise.all([this.stock.get(SERVER)?.stop(), this.hanse.get(SERVER)?.stop()])
    // Job processes of stock have groups of their own, and may outlive what started them.
    for (const pid of await processesIn(this.folder)) process.kill(pid, 'SIGKILL')
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** What an administrator does who lets Python scripts run at a site. */
  async #nameRuntimes(site: string): Promise<void> {
    const python3 = await pythonRuntime(this.#options.stock)
    const node = { program: 'node', kind: 'node' }
    const settings = { format_version: 1, trainer_runtimes: { node, python3 } }
    await writeFile(join(this.kit(site), 'local', 'hanse.json'), JSON.stringify(settings))
  }

  async #provision(): Promise<void> {
    await mkdir(join(this.folder, 'config'))
    const project = join(this.folder, 'project.yml')
    await writeFile(project, projectFile(await freePort(), this.#options))
    const out = join(this.folder, 'kits')
    if (this.#options.kits === 'spread') return this.#provisionSpread(out)
    const { code, text } =
      this.#options.kits === 'hanse'
        ? await runHanse(['provision', project, '--out', out, '--json'], this.env).then(
            ({ code, stdout, stderr }) => ({ code, text: stdout + stderr }),
          )
        : await this.nvflare('provision', '-p', project, '-w', out, '--force')
    if (code !== 0) throw new Error(`provisioning failed: ${text}`)
  }

  async #provisionSpread(out: string): Promise<void> {
    const clients = Object.keys(this.#options.sites)
    const nvflare = async (...args: string[]): Promise<void> => {
      const { code, text } = await this.nvflare(...args)
      if (code !== 0) throw new Error(`nvflare ${args.slice(0, 2).join(' ')} failed: ${text}`)
    }
    await makeSpreadKits(nvflare, this.folder, out, {
      name: 'interop_league',
      port: await freePort(),
      participants: [
        { name: SPREAD_SERVER, type: 'server', org: 'league' },
        ...clients.map((name) => ({ name, type: 'client', org: orgOf(name) }) as const),
        { name: LEAD, type: 'admin', org: 'league', role: 'lead' },
      ],
    })
  }

  async #startServer(): Promise<void> {
    const { server, kits } = this.#options
    if (server === 'hanse') {
      const place = new Place(SERVER, this.kit(SERVER), this.env)
      this.hanse.set(SERVER, place)
      await place.event('ready')
      return
    }
    if (kits !== 'hanse') {
      // Stock kits keep all jobs of a machine in one folder.
      const defaults = join(this.kit(SERVER), 'local', 'resources.json.default')
      const resources = (await readFile(defaults, 'utf8')).replaceAll('/tmp/nvflare', this.folder)
      await writeFile(join(this.kit(SERVER), 'local', 'resources.json'), resources)
    }
    await this.#startStock(SERVER).logged('Server started')
  }

  #startStock(name: string): StockPlace {
    const place = new StockPlace(this.kit(name), { stock: this.#options.stock, env: this.env })
    this.stock.set(name, place)
    return place
  }

  async #program(
    file: string,
    args: readonly string[],
  ): Promise<{ readonly code: number; readonly text: string }> {
    const options = {
      env: stockEnvironment(this.env, this.#options.stock),
      cwd: this.folder,
      timeout: 180_000,
    }
    try {
      const { stdout } = await run(file, [...args], options)
      return { code: 0, text: stdout }
    } catch (error) {
      const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string }
      return { code: typeof code === 'number' ? code : -1, text: `${stdout}\n${stderr}` }
    }
  }
}

/** Processes that have `folder` in their command line. */
async function processesIn(folder: string): Promise<number[]> {
  const found: number[] = []
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(folder)) found.push(pid)
  }
  return found
}

function parsed(text: string): Record<string, unknown> | undefined {
  for (const line of text.split('\n').toReversed())
    if (line.startsWith('{'))
      try {
        return JSON.parse(line) as Record<string, unknown>
      } catch {
        // A line of a log.
      }
  return undefined
}

function orgOf(site: string): string {
  return OWN_SITES.has(site) ? 'league' : 'clinic'
}

/** Read by both provisioners. */
function projectFile(
  port: number,
  { sites: runtimes, spareSites = [], scheme = 'tcp', security = 'mtls' }: InteropLeagueOptions,
): string {
  const sites = [...Object.keys(runtimes), ...spareSites]
  return `api_version: 3
name: interop_league
description: a league of two runtimes
connection_security: ${security}
participants:
  - name: ${SERVER}
    type: server
    org: league
    default_host: localhost
    host_names: [127.0.0.1]
    fed_learn_port: ${port}
    admin_port: ${port}
${sites.map((site) => `  - { name: ${site}, type: client, org: ${orgOf(site)} }`).join('\n')}
  - { name: ${LEAD}, type: admin, org: league, role: lead }
  - { name: ${BOSS}, type: admin, org: league, role: project_admin }
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { config_folder: config, scheme: ${scheme} }
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
`
}
