import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Scheme } from '@hanse/provision'
import { freePort } from '../../test/support/free-port.ts'
import { LEAD, SERVER } from '../../test/support/league.ts'
import { processTree } from '../harness/process-watch.ts'
import { type StockInstallation, stockEnvironment } from './stock-installation.ts'

const PROJECT = 'bench_league'
const MODULES = {
  server: 'nvflare.private.fed.app.server.server_train',
  site: 'nvflare.private.fed.app.client.client_train',
} as const

/** What a stock place says when it is ready. */
const READY = { server: 'Server started', site: 'Successfully registered client' } as const

/** A provisioned league of stock processes with kits of the stock provisioner. */
export class StockLeague implements AsyncDisposable {
  readonly folder: string
  readonly sites: readonly string[]
  readonly #stock: StockInstallation
  readonly #places = new Map<string, ChildProcess>()

  private constructor(stock: StockInstallation, folder: string, sites: readonly string[]) {
    this.#stock = stock
    this.folder = folder
    this.sites = sites
  }

  /** Provisions into `folder`, which stays the caller's. */
  static async provision(
    stock: StockInstallation,
    folder: string,
    sites: readonly string[] = ['site-1', 'site-2'],
    scheme: Scheme = 'tcp',
  ): Promise<StockLeague> {
    const league = new StockLeague(stock, folder, sites)
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'project.yml'), stockProject(sites, await freePort(), scheme))
    await league.nvflare('provision', '-p', join(folder, 'project.yml'), '-w', folder, '--force')
    return league
  }

  /** Provisions and starts everybody. */
  static async start(...args: Parameters<typeof StockLeague.provision>): Promise<StockLeague> {
    const league = await StockLeague.provision(...args)
    try {
      await league.startPlace(SERVER)
      await Promise.all(league.sites.map((site) => league.startPlace(site)))
      return league
    } catch (error) {
      await league[Symbol.asyncDispose]()
      throw error
    }
  }

  kit(name: string): string {
    return join(this.folder, PROJECT, 'prod_00', name)
  }

  /** Process ids by place. */
  get pids(): ReadonlyMap<number, string> {
    return new Map(
      [...this.#places].flatMap(([name, { pid }]) => (pid === undefined ? [] : [[pid, name]])),
    )
  }

  /** Starts a place and waits until it serves or is registered. */
  async startPlace(name: string): Promise<void> {
    const kind = name === SERVER ? 'server' : 'site'
    const setting =
      kind === 'server' ? ['org=league'] : [`uid=${name}`, `org=${name.replaceAll('-', '_')}`]
    const args = ['-u', '-m', MODULES[kind], '-m', this.kit(name)]
    args.push('-s', `fed_${kind === 'server' ? 'server' : 'client'}.json`)
    args.push('--set', 'secure_train=true', 'config_folder=config', ...setting)
    const child = spawn(this.#stock.python, args, {
      env: stockEnvironment(this.#stock, this.folder),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#places.set(name, child)
    await said(child, READY[kind], name)
  }

  async stopPlace(name: string): Promise<void> {
    const child = this.#places.get(name)
    this.#places.delete(name)
    if (child?.pid === undefined || child.exitCode !== null) return
    const exited = once(child, 'exit')
    // It leaves its jobs behind when it is told to end.
    for (const pid of processTree(child.pid)) kill(pid)
    await exited
  }

  /** Runs `nvflare … --format json`. @returns `data` of its answer */
  async nvflare(...args: string[]): Promise<Record<string, unknown>> {
    const { stdout } = await run(this.#stock.nvflare, ['--format', 'json', ...args], {
      env: stockEnvironment(this.#stock, this.folder),
      cwd: this.folder,
    })
    const answer = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
    return answer.data ?? {}
  }

  asLead(...args: string[]): Promise<Record<string, unknown>> {
    return this.nvflare(...args, '--startup-kit', this.kit(LEAD))
  }

  async submit(job: string): Promise<string> {
    return String((await this.asLead('job', 'submit', '-j', job))['job_id'])
  }

  /** Waits for the end of a job and returns its status. */
  async wait(job: string, timeoutSeconds = 600): Promise<string> {
    const answer = await this.asLead(
      ...['job', 'wait', job, '--timeout', String(timeoutSeconds), '--interval', '1'],
    )
    return String(answer['status'])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#places.keys()].reverse()) await this.stopPlace(name)
  }
}

/** The same participants as our leagues have. */
export function stockProject(
  sites: readonly string[],
  port: number,
  scheme: Scheme = 'tcp',
): string {
  return `api_version: 3
name: ${PROJECT}
description: a league for benchmarks
participants:
  - name: ${SERVER}
    type: server
    org: league
    default_host: localhost
    host_names: [127.0.0.1]
    fed_learn_port: ${port}
${sites.map((site) => `  - { name: ${site}, type: client, org: ${site.replaceAll('-', '_')} }`).join('\n')}
  - { name: ${LEAD}, type: admin, org: league, role: lead }
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: { config_folder: config, scheme: ${scheme} }
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
`
}

function run(
  program: string,
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd: string },
): Promise<{ readonly stdout: string }> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { ...options, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout })
      else reject(new Error(`${program} ${args.join(' ')} failed:\n${stdout}\n${stderr}`))
    })
  })
}

/** Resolves when the process wrote the text; reads on afterwards, so that it never waits for us. */
function said(child: ChildProcess, text: string, name: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let tail = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      tail = (tail + chunk).slice(-20_000)
      if (tail.includes(text)) resolve()
    })
  child.once('exit', () => reject(new Error(`${name} ended before it was ready:\n${tail}`)))
  return promise
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}
