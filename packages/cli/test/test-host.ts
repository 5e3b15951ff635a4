import { openSession } from '@hanse/admin'
import { silentLogger, systemClock } from '@hanse/contract'
import { tcp } from '@hanse/driver-tcp'
import type { AdminKit, Kit } from '@hanse/provision'
import type { CliHost } from '../src/cli-host.ts'
import { runHanse } from '../src/run-hanse.ts'

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** Standard output as JSON, if it is. */
  readonly json: unknown
}

/** Runs one command line against kits in memory; everything else is real. */
export async function run(
  args: readonly string[],
  kits: ReadonlyMap<string, Kit> = new Map(),
  overrides: Partial<CliHost> = {},
): Promise<RunResult> {
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      written[name] += text
    },
    isTerminal: false,
    columns: 80,
  })
  const host: CliHost = {
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    environment: {},
    workingDirectory: '/work-folder',
    configDirectory: '/config-folder',
    version: '1.2.3',
    clock: systemClock,
    signal: new AbortController().signal,
    async loadKit(directory) {
      const kit = kits.get(directory)
      if (kit === undefined) throw new Error(`no kit in ${directory}`)
      return kit
    },
    diagnose: async () => {
      throw new Error('not in this test')
    },
    openSession: (kit: AdminKit, options) =>
      openSession(
        kit,
        { drivers: [tcp()], clock: systemClock, logger: silentLogger },
        { ...options, software: 'test' },
      ),
    createLogger: () => ({ ...silentLogger, setLevel() {} }),
    askSecret: async () => undefined,
    runServer: async () => {
      throw new Error('not in this test')
    },
    runSite: async () => {
      throw new Error('not in this test')
    },
    ...overrides,
  }
  const code = await runHanse(args, host)
  let json: unknown
  try {
    json = JSON.parse(written.stdout)
  } catch {
    // It was text for people.
  }
  return { code, ...written, json }
}
