import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '@hanse/contract'
import type { LogLevel } from '@hanse/logger-pino'
import type { PlaceEnd } from '@hanse/server'
import { buildCommand, type Command } from '@stricli/core'
import { CliError, EXIT } from '../cli-error.ts'
import { type HanseContext, type OutputFlags, pathOf, reportError } from '../hanse-context.ts'
import { faultText } from '../output/fault-text.ts'
import { plainLine, plainText } from '../output/plain-text.ts'
import { FaultFinder } from './fault-finder.ts'
import { jsonFlag, kitParameter } from './flags.ts'

type PlaceEvent = { readonly event: string }

export const startCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Run the server or site of a startup kit until Ctrl-C or SIGTERM',
    fullDescription:
      'Runs in the foreground until Ctrl-C or SIGTERM and writes what happens, one line each; where a site does not get ' +
      'through to its server, also what hanse doctor finds; with --json one JSON object a line, the first ' +
      'being "ready". Details go to state/log.jsonl in the kit.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [kitParameter] },
    flags: { json: jsonFlag },
  },
  async func(this: HanseContext, { json = false }: OutputFlags, directory: string) {
    const { host, process } = this
    try {
      // A person may have asked for a restart: then the kit is read anew, with what has changed in it.
      while ((await start(this, json, directory)) === 'restart' && !host.signal.aborted);
      process.exitCode = EXIT.done
    } catch (error) {
      process.exitCode = reportError(host, json, error)
    }
  },
})

async function start({ host }: HanseContext, json: boolean, directory: string): Promise<PlaceEnd> {
  const kit = await host.loadKit(pathOf(host, directory))
  if (kit.type === 'admin')
    throw new CliError(
      'ERR_USAGE',
      `the kit of ${kit.name} is a person's; only servers and sites are started`,
      `give it to other commands: hanse status --as ${directory}`,
    )
  const state = join(kit.directory, 'state')
  await mkdir(state, { recursive: true, mode: 0o700 })
  const logger = host.createLogger(join(state, 'log.jsonl'))
  for (const warning of kit.warnings) host.stderr.write(`hanse: ${plainLine(warning)}\n`)
  const tell = (event: PlaceEvent): void =>
    host.stdout.write(`${json ? JSON.stringify(event) : eventLine(host.clock.now(), event)}\n`)
  const common = {
    clock: host.clock,
    logger,
    signal: host.signal,
    software: `hanse ${host.version}`,
    onEvent: tell,
    setLogLevel: (level: LogLevel | undefined) => {
      logger.setLevel(level)
      return true
    },
    ...logLevelOf(host.environment),
  }
  if (kit.type === 'server') return host.runServer({ ...common, kit })
  const searchPath = host.environment['PATH']
  const faults = new FaultFinder({
    diagnose: () => host.diagnose(pathOf(host, directory)),
    onFault(fault) {
      if (json) tell({ event: 'fault', ...fault })
      else host.stdout.write(`${plainText(faultText(fault))}\n`)
    },
    onFailed: (reason) => logger.warn('the way to the server could not be looked into', { reason }),
  })
  const onEvent = (event: PlaceEvent): void => {
    tell(event)
    faults.heard(event.event)
  }
  try {
    return await host.runSite({
      ...common,
      kit,
      onEvent,
      ...(searchPath !== undefined && { searchPath }),
    })
  } catch (error) {
    if (hasCode(error, 'ERR_SITE_REFUSED')) await faults.search()
    throw error
  }
}

function logLevelOf(environment: Readonly<Record<string, string | undefined>>): {
  readonly logLevel?: string
} {
  const level = environment['HANSE_LOG_LEVEL']
  return level === undefined ? {} : { logLevel: level }
}

/** `07:41:02  job-started  job=…` */
function eventLine(now: number, { event, ...facts }: PlaceEvent): string {
  const details = Object.entries(facts).map(([key, value]) => `${key}=${String(value)}`)
  return plainLine([new Date(now).toISOString().slice(11, 19), event, ...details].join('  '))
}
