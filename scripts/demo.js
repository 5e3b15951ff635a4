// npm run demo: a league of three hospitals on this machine, from nothing to a common model.
import { join } from 'node:path'
import { prepare, ROOT, runPinned } from './prepare.js'

prepare()
process.exitCode = await runPinned([
  join(ROOT, 'scripts', 'demo', 'main.ts'),
  ...process.argv.slice(2),
])
