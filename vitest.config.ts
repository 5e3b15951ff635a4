import { defineConfig } from 'vitest/config'

const conditions = ['source', 'module', 'node', 'development|production']

/** Whole processes: they run the build, one file after the other, each on its own. */
const wholeProcesses = (name: string, include: string[], exclude: string[] = []) => ({
  test: {
    name,
    include,
    exclude,
    isolate: true,
    fileParallelism: false,
    // Of the few that say they may.
    maxConcurrency: 3,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})

/** Attacks on what one driver alone has. */
const WEBSOCKET_ATTACKS = 'test/attack/websocket.test.ts'
const HTTP2_ATTACKS = 'test/attack/http2.test.ts'
/** What is in an archive is judged far above all drivers. */
const UPLOADS = 'test/attack/uploads.test.ts'

/** Attacks over a driver, all but those of `exclude`. */
const attackOver = (scheme: string, name: string, exclude: string[]) => {
  const { test } = wholeProcesses(name, ['test/attack/*.test.ts'], exclude)
  return { test: { ...test, env: { HANSE_ATTACK_SCHEME: scheme } } }
}

const { test: interopTest } = wholeProcesses('interop', [
  'interop/*.test.ts',
  'packages/site/test/*.test.ts',
])
/** Against a stock installation of NVIDIA FLARE, which `interop/setup.ts` makes in `.cache/venv`. */
const interop = { test: { ...interopTest, globalSetup: ['interop/setup.ts'] } }

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { conditions },
        ssr: { resolve: { conditions, externalConditions: ['source', 'node'] } },
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'benchmarks/**/*.test.ts'],
          pool: 'threads',
          isolate: false,
          // Keys take long where others use the processor too.
          testTimeout: 30_000,
        },
      },
      wholeProcesses('one-league', ['test/league/one-league.test.ts']),
      wholeProcesses('league', ['test/league/*.test.ts'], ['test/league/one-league.test.ts']),
      attackOver('tcp', 'attack', [WEBSOCKET_ATTACKS, HTTP2_ATTACKS]),
      attackOver('http', 'attack-http', [HTTP2_ATTACKS, UPLOADS]),
      attackOver('grpc', 'attack-grpc', [WEBSOCKET_ATTACKS, UPLOADS]),
      wholeProcesses('proxies', ['test/proxies/*.test.ts']),
      interop,
    ],
  },
})
