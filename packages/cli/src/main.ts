import { homedir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { silentLogger, systemClock } from '@hanse/contract'
import { createPinoLogger, isLogLevel, type LogLevel } from '@hanse/logger-pino'
import type { CliHost, TextStream } from './cli-host.ts'
import { driversFor } from './drivers.ts'
import { placeLogger } from './output/tee-logger.ts'
import { runHanse } from './run-hanse.ts'
import { VERSION } from './version.ts'

// Received bytes count as garbage by proportion, not by every 64 MB (docs/decisions/0010).
setFlagsFromString('--external-memory-accounted-in-global-limit')
// What messages leave behind is little; room for more of it stays taken (docs/decisions/0010).
setFlagsFromString('--semi-space-growth-factor=1')

const clock = systemClock

function textStream(stream: NodeJS.WriteStream): TextStream {
  return {
    write: (text) => void stream.write(text),
    isTerminal: stream.isTTY && process.env['TERM'] !== 'dumb',
    columns: stream.columns ?? 80,
  }
}

function logLevel(fallback: LogLevel): LogLevel {
  const level = process.env['HANSE_LOG_LEVEL']
  return isLogLevel(level) ? level : fallback
}

async function askSecret(question: string): Promise<string | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined
  const { createInterface } = await import('node:readline/promises')
  const { Writable } = await import('node:stream')
  process.stderr.write(question)
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: process.stdin, output: silence, terminal: true })
  try {
    return await reader.question('')
  } finally {
    reader.close()
    process.stderr.write('\n')
  }
}

/** Ctrl-C and SIGTERM. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  const abort = () => stop.abort(new Error('asked to stop'))
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, abort)
  return stop.signal
}

/**
 * A launcher that handed over to us is what people see and kill. It only ever ends before us by being killed, and then
 * we end as it did: at once, so that nothing stays behind and the port is free.
 */
function shareFateWithLauncher(): void {
  if (process.channel === undefined) return
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))
  process.channel?.unref()
}

shareFateWithLauncher()

// Packages are imported by what needs them: a command waits for the modules it uses, not for everybody's.
const host: CliHost = {
  stdout: textStream(process.stdout),
  stderr: textStream(process.stderr),
  environment: process.env,
  workingDirectory: process.cwd(),
  configDirectory: join(process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'hanse'),
  version: VERSION,
  clock,
  signal: stopSignal(),
  async loadKit(directory) {
    const { loadKit } = await import('@hanse/provision/kit')
    return loadKit(directory, { now: clock.now() })
  },
  async diagnose(directory, options) {
    const { diagnose } = await import('@hanse/doctor')
    const components = { clock, logger: silentLogger }
    return diagnose(directory, {
      driversFor: (kit) => driversFor(kit, components),
      ...components,
      ...options,
    })
  },
  async openSession(kit, options) {
    const { openSession } = await import('@hanse/admin')
    const components = { clock, logger: createPinoLogger({ level: logLevel('error') }) }
    const drivers = await driversFor(kit, components)
    return openSession(
      kit,
      { drivers, ...components },
      { ...options, software: `hanse ${VERSION}` },
    )
  },
  createLogger(file) {
    const level = logLevel('info')
    return placeLogger(
      createPinoLogger({ level, destination: file }),
      level,
      createPinoLogger({ level: 'warn' }),
    )
  },
  askSecret,
  async runServer(options) {
    const { runServer } = await import('@hanse/server')
    return runServer(options)
  },
  async runSite(options) {
    const { runSite } = await import('@hanse/site')
    return runSite(options)
  },
}

// Whoever reads our output may close it early, e.g. `hanse job list | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

// Timers of ours do not hold the process, and while a place waits for its server there may be nothing else.
const holding = setInterval(() => {}, 2 ** 30)
process.exitCode = await runHanse(process.argv.slice(2), host)
clearInterval(holding)
