#!/usr/bin/env node
// Understood by Node 20 and later: hands over to the runtime that the repository brings along and passes on signals
// and the exit code. Under that runtime, or a newer one, it runs the command itself.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NEEDED_MAJOR = 26
const here = dirname(fileURLToPath(import.meta.url))
const main = join(here, '..', 'dist', 'main.js')

if (!existsSync(main)) {
  process.stderr.write('hanse: not built yet; run "npm ci" and "npm run build" in the repository\n')
  process.exit(1)
} else if (Number(process.versions.node.split('.')[0]) >= NEEDED_MAJOR) {
  await import(main)
} else {
  const runtime = findRuntime(here)
  if (runtime === undefined) {
    process.stderr.write(
      `hanse: needs Node ${NEEDED_MAJOR}, this is ${process.versions.node}; run "npm ci" in the repository, which brings it along\n`,
    )
    process.exit(1)
  } else handOver(runtime)
}

/** The pinned runtime of the installation that this file belongs to. */
function findRuntime(folder) {
  const candidate = join(folder, 'node_modules', '.bin', 'node')
  if (existsSync(candidate)) return candidate
  const parent = dirname(folder)
  return parent === folder ? undefined : findRuntime(parent)
}

function handOver(runtime) {
  // The channel tells the command when we are gone, however we ended: it stops then and leaves nothing running.
  const child = spawn(runtime, [main, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`hanse: cannot start ${runtime}: ${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    for (const name of signals) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}
