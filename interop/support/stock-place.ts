import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { StockInstallation } from './stock-installation.ts'

export interface StockPlaceOptions {
  readonly stock: StockInstallation
  readonly env: NodeJS.ProcessEnv
}

/** A kit that runs on the stock package, started as its owner would: `startup/start.sh`. */
export class StockPlace implements AsyncDisposable {
  readonly kit: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #console: string
  /** Bytes that earlier processes of the kit wrote. */
  readonly #from: number

  constructor(kit: string, { stock, env }: StockPlaceOptions) {
    this.kit = kit
    this.#console = join(kit, 'console.txt')
    // A file, not a pipe: stock logs under a lock, and stands still when nobody reads.
    const output = openSync(this.#console, 'a')
    this.#from = fstatSync(output).size
    this.#child = spawn('bash', [join(kit, 'startup', 'start.sh')], {
      cwd: kit,
      detached: true, // a process group of its own: the supervisor and what it starts end together
      env: stockEnvironment(env, stock),
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    this.#exited = once(this.#child, 'close')
  }

  /** What it printed, its log among it. */
  async log(): Promise<string> {
    const bytes = await readFile(this.#console)
    return bytes.subarray(this.#from).toString('utf8')
  }

  /** Resolves when its log has `text`. */
  async logged(text: string | RegExp, timeoutMs = 60_000): Promise<void> {
    const until = performance.now() + timeoutMs
    while (performance.now() < until) {
      const log = await this.log()
      if (typeof text === 'string' ? log.includes(text) : text.test(log)) return
      await delay(100)
    }
    throw new Error(`${this.kit} never logged ${String(text)}:\n${(await this.log()).slice(-4000)}`)
  }

  /** Ends it as a power cut would, with everything it started. */
  async kill(): Promise<void> {
    this.#signal('SIGKILL')
    await this.#exited
    // They say that it still runs; whoever starts it again removes them first.
    for (const file of ['daemon_pid.fl', 'pid.fl']) await rm(join(this.kit, file), { force: true })
  }

  async stop(): Promise<void> {
    this.#signal('SIGTERM')
    const ended = await Promise.race([this.#exited, delay(4_000, 'running', { ref: false })])
    if (ended === 'running') this.#signal('SIGKILL')
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child.pid === undefined) return
    try {
      process.kill(-this.#child.pid, signal)
    } catch {
      // The group is gone.
    }
  }
}

/** The environment in which `nvflare`, `python3` and its modules are the stock installation's. */
export function stockEnvironment(
  env: NodeJS.ProcessEnv,
  { bin }: StockInstallation,
): NodeJS.ProcessEnv {
  return {
    ...env,
    PATH: `${bin}:${env['PATH'] ?? ''}`,
    HANSE_RUNTIME: 'stock',
    OMP_NUM_THREADS: '1',
    PYTHONUNBUFFERED: '1',
  }
}
