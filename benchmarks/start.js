// npm run bench: builds what is missing, then measures. Plain JavaScript for Node 20 and later.
import { join } from 'node:path'
import { prepare, ROOT, runPinned } from '../scripts/prepare.js'

prepare()
process.exitCode = await runPinned([join(ROOT, 'benchmarks', 'main.ts'), ...process.argv.slice(2)])
