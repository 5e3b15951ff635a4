import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { openSession } from '@hanse/admin'
import { type Driver, type Logger, silentLogger, systemClock } from '@hanse/contract'
import { diagnose } from '@hanse/doctor'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import { createPinoLogger, isLogLevel, type LogLevel } from '@hanse/logger-pino'
import { type Kit, loadKit } from '@hanse/provision'
import { runServer } from '@hanse/server'
import { runSite } from '@hanse/site'
import type { CliHost, TextStream } from './cli-host.ts'
import { placeLogger } from './output/tee-logger.ts'
import { runHanse } from './run-hanse.ts'
import { VERSION } from './version.ts'

// Received bytes count as garbage by proportion, not by every 64 MB (docs/decisions/0010).
setFlagsFromString('--external-memory-accounted-in-global-limit')

const clock = systemClock

/** The kit's scheme decides which of them dials; they go through the proxy that it names, if it names one. */
function driversFor({ hanse }: Kit, logger: Logger): readonly Driver[] {
  const options = { clock, logger, proxy: hanse.outboundProxy?.url }
  return [tcp(options), http(options), grpc(options)]
}

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

const host: CliHost = {
  stdout: textStream(process.stdout),
  stderr: textStream(process.stderr),
  environment: process.env,
  workingDirectory: process.cwd(),
  configDirectory: join(process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'hanse'),
  version: VERSION,
  clock,
  signal: stopSignal(),
  loadKit: (directory) => loadKit(directory, { now: clock.now() }),
  diagnose: (directory) =>
    diagnose(directory, {
      driversFor: (kit) => driversFor(kit, silentLogger),
      clock,
      logger: silentLogger,
    }),
  openSession(kit, options) {
    const logger = createPinoLogger({ level: logLevel('error') })
    return openSession(
      kit,
      {
        drivers: driversFor(kit, logger),
        clock,
        logger,
      },
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
  runServer,
  runSite,
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
