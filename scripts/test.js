// npm test: installs and builds what is missing, then runs every unit test and one whole league.
import { join } from 'node:path'
import { prepare, ROOT, runPinned } from './prepare.js'

prepare()
process.exitCode = await runPinned([
  join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
  'run',
  '--project',
  'unit',
  '--project',
  'one-league',
  ...process.argv.slice(2),
])
