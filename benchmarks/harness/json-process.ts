import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** A program that writes one JSON object a line, and ends when its standard input does. */
export class JsonProcess implements AsyncDisposable {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #lines: Record<string, unknown>[] = []
  readonly #exited: Promise<number | null>
  #isOver = false
  #stderr = ''
  #wake: () => void = () => {}

  private constructor(child: ChildProcess, pid: number) {
    this.pid = pid
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr = (this.#stderr + chunk).slice(-20_000)
    })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{')) return
      this.#lines.push(JSON.parse(line))
      this.#wake()
    })
    this.#exited = once(child, 'close').then(([code]) => {
      this.#isOver = true
      this.#wake()
      return code as number | null
    })
  }

  static start(
    program: string,
    args: readonly string[],
    options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
  ): JsonProcess {
    const child = spawn(program, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
    if (child.pid === undefined) throw new Error(`${program} was not started`)
    child.stdin?.on('error', () => undefined)
    return new JsonProcess(child, child.pid)
  }

  /** A TypeScript or JavaScript file of ours, under the runtime that runs us. */
  static startNode(file: string, args: readonly string[] = [], nodeArgs: readonly string[] = []) {
    return JsonProcess.start(process.execPath, [...nodeArgs, file, ...args])
  }

  /** The next object, in order. @throws when the program ends before it comes */
  async next<Shape>(): Promise<Shape> {
    for (;;) {
      const line = this.#lines.shift()
      // The programs are ours: what they write is what their callers expect.
      if (line !== undefined) return line as Shape
      if (this.#isOver)
        throw new Error(`${this.#child.spawnargs.join(' ')} ended early:\n${this.#stderr}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Hands the program one line. */
  say(line: object): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await this.#exited
    clearTimeout(timer)
  }
}
