// Plain JavaScript for Node 20 and later: what has to be there before the pinned runtime can take over.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's folder. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

/** Node as the lockfile pins it. */
const RUNTIME = join(ROOT, 'node_modules', '.bin', 'node')

const BIN = join(ROOT, 'node_modules', '.bin')
const WINDOWS = process.platform === 'win32'

/** Installs and builds what is missing; ends the process if that fails. Reports go to standard error. */
export function prepare() {
  if (!isInstalled()) {
    note('installing (npm ci)')
    // Only errors: what npm says about the engine of this Node is no news, the pinned one comes with the install.
    runOrExit(WINDOWS ? 'npm.cmd' : 'npm', ['ci', '--loglevel=error'])
  }
  // Cheap when nothing changed.
  runOrExit(RUNTIME, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'])
}

/** True when every package of the lockfile that is needed here is installed in its exact version. */
function isInstalled() {
  if (!existsSync(RUNTIME)) return false
  const wanted = readLock(join(ROOT, 'package-lock.json'))
  const found = readLock(join(ROOT, 'node_modules', '.package-lock.json'))
  if (wanted === undefined || found === undefined) return false
  return Object.entries(wanted).every(([path, { version, link, optional, dev, devOptional }]) => {
    if (!path.startsWith('node_modules/')) return true
    const installed = found[path]
    // Packages for other platforms are optional and rightly absent.
    if (installed === undefined) return optional === true || (devOptional === true && dev !== true)
    return link === true ? existsSync(join(ROOT, path)) : installed.version === version
  })
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

function runOrExit(command, args) {
  // Standard output belongs to the result of the script.
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2] })
  if (error !== undefined) note(`cannot run ${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

/** Runs a script of this repository under the pinned runtime, passes signals on, and gives its exit code. */
export function runPinned(args) {
  return new Promise((resolve) => {
    const child = spawn(RUNTIME, args, {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, PATH: `${BIN}${WINDOWS ? ';' : ':'}${process.env.PATH ?? ''}` },
    })
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    const pass = new Map(signals.map((signal) => [signal, () => child.kill(signal)]))
    for (const [signal, handler] of pass) process.on(signal, handler)
    child.on('exit', (code) => {
      for (const [signal, handler] of pass) process.off(signal, handler)
      resolve(code ?? 1)
    })
  })
}

function note(text) {
  process.stderr.write(`${text}\n`)
}
