import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const STOP_MS = 10_000

export interface PlaceEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** Starts `hanse` as processes of their own, each stopped by its own id in the end. */
export class HanseProcesses implements AsyncDisposable {
  readonly #hanse: string
  readonly #folder: string
  readonly #environment: NodeJS.ProcessEnv
  readonly #places: { readonly name: string; readonly child: ChildProcess }[] = []

  /** @param hanse file of the command */
  constructor(hanse: string, folder: string, environment: NodeJS.ProcessEnv) {
    this.#hanse = hanse
    this.#folder = folder
    this.#environment = environment
  }

  /** Ids of the places that run, by name. */
  get pids(): ReadonlyMap<string, number> {
    return new Map(
      this.#places.flatMap(({ name, child }) =>
        child.pid === undefined || !isAlive(child) ? [] : [[name, child.pid] as const],
      ),
    )
  }

  /**
   * Runs one command to its end; its messages and its progress go to our standard error.
   * @returns what it printed, parsed
   * @throws {Error} with its own words if it fails
   */
  async run(args: readonly string[], signal: AbortSignal): Promise<unknown> {
    const child = this.#spawn([...args, '--json'], ['ignore', 'pipe', 'inherit'])
    return this.#finish(child, args, signal)
  }

  /** Runs one command with what it shows to people. */
  async show(args: readonly string[], stdout: 'inherit' | 2, signal: AbortSignal): Promise<void> {
    const child = this.#spawn(args, ['ignore', stdout, 'inherit'])
    await this.#finish(child, args, signal)
  }

  /** Starts a server or site and waits until it is ready. */
  async start(name: string, kit: string, signal: AbortSignal): Promise<PlaceEvent> {
    const child = this.#spawn(['start', kit, '--json'], ['ignore', 'pipe', 'pipe'])
    this.#places.push({ name, child })
    let words = ''
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      words = (words + chunk).slice(-4096)
    })
    const { promise, resolve, reject } = Promise.withResolvers<PlaceEvent>()
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as PlaceEvent
      if (event.event === 'ready') resolve(event)
    })
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${words.trim()}`)))
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Lets the places go on without us. */
  leave(): void {
    for (const { child } of this.#places.splice(0)) {
      child.stdout?.destroy()
      child.stderr?.destroy()
      child.unref()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Sites first: they say goodbye to their server.
    for (const { child } of this.#places.splice(0).reverse()) {
      if (!isAlive(child)) continue
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await exited
      clearTimeout(timer)
    }
  }

  #spawn(args: readonly string[], stdio: ('ignore' | 'pipe' | 'inherit' | number)[]): ChildProcess {
    return spawn(process.execPath, [this.#hanse, ...args], {
      cwd: this.#folder,
      env: this.#environment,
      stdio,
      // Ctrl-C goes to us alone: we end everything in order.
      detached: true,
    })
  }

  async #finish(
    child: ChildProcess,
    args: readonly string[],
    signal: AbortSignal,
  ): Promise<unknown> {
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    const onAbort = () => void child.kill('SIGTERM')
    signal.addEventListener('abort', onAbort, { once: true })
    const [code] = (await once(child, 'close')) as [number | null]
    signal.removeEventListener('abort', onAbort)
    signal.throwIfAborted()
    if (code !== 0) throw new Error(`hanse ${args.join(' ')} ended with ${code}: ${text.trim()}`)
    return text === '' ? undefined : JSON.parse(text)
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}
