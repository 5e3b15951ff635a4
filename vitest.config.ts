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

/** What an attacker may do with a link once it has one, over the other drivers; `attack` is over TCP. */
const attackOver = (scheme: string) => {
  const { test } = wholeProcesses(`attack-${scheme}`, [
    'test/attack/messages.test.ts',
    'test/attack/identity.test.ts',
    'test/attack/signed-commands.test.ts',
  ])
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
      wholeProcesses('attack', ['test/attack/*.test.ts']),
      attackOver('http'),
      attackOver('grpc'),
      wholeProcesses('proxies', ['test/proxies/*.test.ts']),
      interop,
    ],
  },
})
