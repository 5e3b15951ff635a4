import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const PROGRAMS = { nginx: 'nginx libnginx-mod-stream', haproxy: 'haproxy', tinyproxy: 'tinyproxy' }

export type ProxyKind = keyof typeof PROGRAMS

/** Where Debian keeps a module that is not built in. */
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'
const START_WITHIN_MS = 10_000

/** Those that were named already. */
const missing = new Set<ProxyKind>()

/**
 * Whether a kind of proxy can be started here; says it once if not.
 * @throws {Error} in continuous integration, where nothing may be left out
 */
export function isInstalled(kind: ProxyKind): boolean {
  const path = programOf(kind)
  if (path !== undefined && (kind !== 'nginx' || hasStream(path))) return true
  const how = `apt-get install ${PROGRAMS[kind]}`
  const { CI, HANSE_PROXIES } = process.env
  if ((CI ?? '') !== '' || HANSE_PROXIES === 'required')
    throw new Error(`${kind} must be installed: ${how}`)
  if (!missing.has(kind))
    process.stderr.write(`${kind} is not installed here, its tests are left out (${how})\n`)
  missing.add(kind)
  return false
}

function programOf(kind: ProxyKind): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, kind)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function hasStream(nginx: string): boolean {
  if (existsSync(STREAM_MODULE)) return true
  // It writes its options to standard error.
  const options = execFileSync('sh', ['-c', '"$0" -V 2>&1', nginx], { encoding: 'utf8' })
  return /--with-stream(\s|$)/.test(options)
}

export interface ProxyOptions {
  readonly kind: ProxyKind
  /** As the page shows it, with the addresses of this machine. */
  readonly configuration: string
  /** That it listens at when it is ready, at 127.0.0.1. */
  readonly ports: readonly number[]
}

/** A real proxy with its files in a temporary folder, one process; disposing ends it and removes them. */
export class RealProxy implements AsyncDisposable {
  readonly #options: ProxyOptions
  readonly #folder: string
  #child: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #output = ''

  private constructor(options: ProxyOptions, folder: string) {
    this.#options = options
    this.#folder = folder
  }

  static async start(options: ProxyOptions): Promise<RealProxy> {
    const proxy = new RealProxy(options, await mkdtemp(join(tmpdir(), `hanse-${options.kind}-`)))
    try {
      await proxy.start()
      return proxy
    } catch (error) {
      await proxy[Symbol.asyncDispose]()
      throw error
    }
  }

  /** What it has written, since it was first started. */
  get output(): string {
    return this.#output
  }

  /** Starts it, for the first time or after {@link kill}; resolves when it listens. */
  async start(): Promise<void> {
    const { kind, configuration, ports } = this.#options
    const program = programOf(kind)
    if (program === undefined) throw new Error(`${kind} is not installed`)
    const file = join(this.#folder, `${kind}.conf`)
    const { text, args } = FRAMES[kind](configuration, file, this.#folder)
    await writeFile(file, text)
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let isOver = false
    this.#exited = once(child, 'close').finally(() => {
      isOver = true
    })
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => {
        this.#output += part
      })
    const deadline = Date.now() + START_WITHIN_MS
    for (const port of ports)
      while (!(await listens(port))) {
        if (isOver || Date.now() > deadline)
          throw new Error(`${kind} does not listen at ${port}:\n${this.#output}\n${text}`)
        await delay(20)
      }
  }

  /** Ends it at once, and all of its connections with it. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

type Frame = (
  configuration: string,
  file: string,
  folder: string,
) => { readonly text: string; readonly args: readonly string[] }

/** What a system's own configuration has around what a page shows. */
const FRAMES: Readonly<Record<ProxyKind, Frame>> = {
  nginx: (configuration, file, folder) => {
    const isStream = configuration.startsWith('stream')
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${join(folder, kind)};`)
      .join('\n')
    return {
      text: [
        isStream && existsSync(STREAM_MODULE) ? `load_module ${STREAM_MODULE};` : '',
        `daemon off;\nmaster_process off;\npid ${join(folder, 'nginx.pid')};`,
        'error_log stderr info;\nevents { worker_connections 256; }',
        isStream ? configuration : `http {\naccess_log off;\n${temporary}\n${configuration}}`,
      ].join('\n'),
      args: ['-p', folder, '-e', 'stderr', '-c', file],
    }
  },
  haproxy: (configuration, file) => ({
    text: `global\n  maxconn 256\n\n${configuration}`,
    args: ['-db', '-f', file],
  }),
  tinyproxy: (configuration, file) => ({
    text: `${configuration}\nLogLevel Connect\nMaxClients 100\n`,
    args: ['-d', '-c', file],
  }),
}
