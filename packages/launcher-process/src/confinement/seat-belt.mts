// Loaded into a trainer before its script (`--import`): finds the packages that the site lends, and denies what
// Node's permission model leaves open. A seat belt: the wall is the namespaces around the process. This file
// stands alone, since a trainer can read nothing else of the package it is from.
import nodeModule, { registerHooks, syncBuiltinESMExports } from 'node:module'

/** `{"@hanse/client": "file:///…"}`; absent where the packages are mounted as node_modules. */
const { HANSE_TRAINER_PACKAGES = '{}' } = process.env
Reflect.deleteProperty(process.env, 'HANSE_TRAINER_PACKAGES')
const lent = new Map<string, string>(Object.entries(JSON.parse(HANSE_TRAINER_PACKAGES)))

/** Modules that reach past the permission model. */
const DENIED_MODULES = new Map([
  ['sqlite', 'Database'],
  ['ffi', 'ForeignFunctions'],
])

function denied(permission: string, what: string): Error {
  return Object.assign(new Error(`a trainer may not use ${what}`), {
    code: 'ERR_ACCESS_DENIED',
    permission,
  })
}

function checkModule(specifier: unknown): void {
  const name = String(specifier).replace(/^node:/, '')
  const permission = DENIED_MODULES.get(name.split('/')[0] ?? '')
  if (permission !== undefined) throw denied(permission, `node:${name}`)
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    checkModule(specifier)
    const url = lent.get(specifier)
    return url === undefined ? nextResolve(specifier, context) : { url, shortCircuit: true }
  },
})

/** Replaces a function for good: scripts can neither restore nor reconfigure it. */
function replace(target: object, name: string, value: unknown): void {
  if (name in target)
    Object.defineProperty(target, name, { value, writable: false, configurable: false })
}

// A script's own hooks would come before ours, and find denied modules for it.
for (const name of ['registerHooks', 'register'])
  replace(nodeModule, name, () => {
    throw denied('Internals', `module.${name}`)
  })

const getBuiltinModule = process.getBuiltinModule
// Whatever way a script comes by the module in the end, it opens nothing.
const sqlite: object = getBuiltinModule('node:sqlite')
for (const name of Object.keys(sqlite))
  replace(sqlite, name, function closed() {
    throw denied('Database', `${name} of node:sqlite`)
  })
syncBuiltinESMExports()

replace(process, 'getBuiltinModule', (id: string) => {
  checkModule(id)
  return getBuiltinModule(id)
})

const CLOSED: readonly [permission: string, names: readonly string[]][] = [
  ['Signal', ['kill', '_kill', '_debugProcess', '_debugEnd']],
  ['Identity', ['setuid', 'setgid', 'seteuid', 'setegid', 'setgroups', 'initgroups']],
  ['Internals', ['binding', '_linkedBinding', 'dlopen', 'execve', '_startProfilerIdleNotifier']],
]
for (const [permission, names] of CLOSED)
  for (const name of names)
    replace(process, name, () => {
      throw denied(permission, `process.${name}`)
    })
