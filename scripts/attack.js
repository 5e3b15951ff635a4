// npm run test:attack: attacks a league over every driver; with --json what came of each, as one object.
import { join } from 'node:path'
import { prepare, ROOT, runPinned } from './prepare.js'

const rest = process.argv.slice(2)
const asJson = rest.includes('--json')

prepare()
process.exitCode = await runPinned([
  join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
  'run',
  '--project',
  'attack*',
  ...(asJson ? ['--reporter=./test/support/cases-reporter.ts'] : []),
  ...rest.filter((argument) => argument !== '--json'),
])
