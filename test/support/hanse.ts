import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const HANSE = fileURLToPath(new URL('../../packages/cli/bin/hanse.js', import.meta.url))

/** The environment of every test process: nothing of the developer's own configuration. */
export function testEnvironment(configHome: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: configHome, XDG_CONFIG_HOME: configHome, NO_COLOR: '1' }
}

export interface CommandResult {
  readonly code: number | null
  /** The last line of standard output, parsed; `undefined` if it is not JSON. */
  readonly json: Record<string, unknown> | undefined
  readonly stdout: string
  readonly stderr: string
}

/** Runs `hanse …` to its end. */
export async function runHanse(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<CommandResult> {
  const child = spawn(process.execPath, [HANSE, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, json: lastJson(text.stdout), ...text }
}

function lastJson(stdout: string): Record<string, unknown> | undefined {
  const lines = stdout.trim().split('\n')
  for (const candidate of [lines.at(-1) ?? '', stdout]) {
    try {
      return JSON.parse(candidate) as Record<string, unknown>
    } catch {
      // Not JSON: the caller sees the text.
    }
  }
  return undefined
}

export interface PlaceEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** A `hanse start <kit>` process. */
export class Place implements AsyncDisposable {
  readonly name: string
  readonly pid: number
  readonly events: PlaceEvent[] = []
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
  #stderr = ''
  #isOver = false
  #waiters: (() => void)[] = []
  readonly #kill: (signal: NodeJS.Signals) => void

  constructor(name: string, kit: string, env: NodeJS.ProcessEnv) {
    this.name = name
    const child = spawn(process.execPath, [HANSE, 'start', kit, '--json'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    if (child.pid === undefined) throw new Error(`${name} was not started`)
    this.pid = child.pid
    this.#kill = (signal) => void child.kill(signal)
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as PlaceEvent)
      this.#wake()
    })
    this.exited = once(child, 'close').then(([code, signal]) => {
      this.#isOver = true
      this.#wake()
      return { code: code as number | null, signal: signal as string | null }
    })
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Resolves with the first event that fits, past or future. */
  async event(fits: string | ((event: PlaceEvent) => boolean), from = 0): Promise<PlaceEvent> {
    const test = typeof fits === 'string' ? (event: PlaceEvent) => event.event === fits : fits
    for (;;) {
      const found = this.events.slice(from).find(test)
      if (found !== undefined) return found
      if (this.#isOver)
        throw new Error(
          `${this.name} ended before the event came:\n${this.#stderr}\n${JSON.stringify(this.events)}`,
        )
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#kill(signal)
  }

  async stop(): Promise<void> {
    if (!this.#isOver) this.#kill('SIGTERM')
    await this.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter()
  }
}
