import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { LaunchError } from '../launch-error.ts'
import type { ClientPackage } from './client-packages.ts'
import type { ConfinedProgram } from './confined-program.ts'

/** One folder or file that the program gets to see. */
export interface Grant {
  readonly access: 'ro' | 'rw'
  /** Where it is on the machine. */
  readonly source: string
  /** Where the program sees it. */
  readonly target: string
}

/** The machine as a trainer sees it. */
export interface SandboxView {
  readonly grants: readonly Grant[]
  /** Program, options, script, arguments, as the trainer sees them. */
  readonly command: readonly [string, ...string[]]
  readonly environment: Readonly<Record<string, string>>
  /** What the trainer is told (`TrainerWelcome`). */
  readonly datasets: Readonly<Record<string, string>>
  readonly scratchDirectory: string
  readonly directory: string
}

/** Without these no program starts that is not linked statically. */
const SYSTEM_LIBRARIES = [
  '/usr/lib',
  '/usr/lib32',
  '/usr/lib64',
  '/lib',
  '/lib32',
  '/lib64',
  '/etc/ld.so.cache',
]

/** As compiled or as source, whichever this module runs from. */
const SEAT_BELT = fileURLToPath(
  new URL(`./seat-belt${extname(import.meta.url) === '.ts' ? '.mts' : '.mjs'}`, import.meta.url),
)

/** Where it is for trainers; outside of the job's folders, so that no file of a job stands in for it. */
const PYTHON_STARTER = '/runtime/hanse_flare.py'

/** Fixed places, so that nothing about the site's own folders shows: `/app`, `/data/<name>`, `/scratch`. */
export function namespaceView(
  program: ConfinedProgram,
  packages: readonly ClientPackage[],
): SandboxView {
  const { runtime } = program
  const isNode = runtime.kind === 'node'
  const starter = runtime.kind === 'python' ? pythonStarter(packages) : undefined
  const executable = isNode ? `/runtime/${basename(runtime.program)}` : runtime.program
  const system = [...SYSTEM_LIBRARIES.filter(isRealPath), ...(runtime.read ?? [])]
  const datasets = mapValues(program.datasets ?? {}, (_, name) => `/data/${name}`)
  const grants: Grant[] = [
    ...system.map((path) => readOnly(path, path)),
    ...executableGrants(runtime.program, executable, system),
    readOnly(program.appDirectory, '/app'),
    ...Object.entries(program.datasets ?? {}).map(([name, path]) =>
      readOnly(path, `/data/${name}`),
    ),
    { access: 'rw', source: program.scratchDirectory, target: '/scratch' },
    ...(starter === undefined ? [] : [readOnly(starter, PYTHON_STARTER)]),
  ]
  const view = { grants, datasets, scratchDirectory: '/scratch', directory: '/app' }
  if (!isNode)
    return {
      ...view,
      command: [
        executable,
        ...(runtime.options ?? []),
        ...(starter === undefined ? [] : [PYTHON_STARTER]),
        ...program.arguments,
      ],
      environment: environmentOf(program, '/scratch', '/tmp'),
    }
  const seatBelt = `/runtime/${basename(SEAT_BELT)}`
  return {
    ...view,
    grants: [
      ...grants,
      readOnly(SEAT_BELT, seatBelt),
      ...packages.map(({ name, directory }) => readOnly(directory, `/node_modules/${name}`)),
    ],
    command: [
      executable,
      ...nodeOptions({
        seatBelt,
        read: ['/app', '/data', '/scratch', '/tmp', '/node_modules', seatBelt],
        write: ['/scratch', '/tmp'],
      }),
      ...(runtime.options ?? []),
      ...program.arguments,
    ],
    environment: environmentOf(program, '/scratch', '/tmp'),
  }
}

/** The machine's own paths, with Node's permission model as the only limit. */
export function nodePermissionView(
  program: ConfinedProgram,
  packages: readonly ClientPackage[],
): SandboxView {
  const { runtime, datasets = {} } = program
  const real = {
    app: realpathSync(program.appDirectory),
    scratch: realpathSync(program.scratchDirectory),
    datasets: mapValues(datasets, (path) => realpathSync(path)),
  }
  const lent = Object.fromEntries(
    packages.map(({ name, directory, entry }) => [
      name,
      pathToFileURL(join(directory, entry)).href,
    ]),
  )
  return {
    grants: [],
    datasets: real.datasets,
    scratchDirectory: real.scratch,
    directory: real.app,
    command: [
      runtime.program,
      ...nodeOptions({
        seatBelt: SEAT_BELT,
        read: [
          real.app,
          real.scratch,
          ...Object.values(real.datasets),
          ...(runtime.read ?? []),
          ...packages.map(({ directory }) => directory),
          SEAT_BELT,
        ],
        write: [real.scratch],
      }),
      ...(runtime.options ?? []),
      ...program.arguments,
    ],
    environment: {
      ...environmentOf(program, real.scratch, real.scratch),
      HANSE_TRAINER_PACKAGES: JSON.stringify(lent),
    },
  }
}

/** No limit at all: for another runtime than Node on a machine without namespaces. */
export function openView(
  program: ConfinedProgram,
  packages: readonly ClientPackage[],
): SandboxView {
  const { runtime, scratchDirectory } = program
  const starter = runtime.kind === 'python' ? [pythonStarter(packages)] : []
  return {
    grants: [],
    datasets: program.datasets ?? {},
    scratchDirectory,
    directory: program.appDirectory,
    command: [runtime.program, ...(runtime.options ?? []), ...starter, ...program.arguments],
    environment: environmentOf(program, scratchDirectory, scratchDirectory),
  }
}

/**
 * The program that runs a Python script with a connection for FLARE's Client API.
 * @throws {LaunchError} `ERR_LAUNCH_OPTIONS` when the package that brings it is not at hand
 */
function pythonStarter(packages: readonly ClientPackage[]): string {
  const client = packages.find(({ name }) => name === '@hanse/client')
  if (client !== undefined) return join(client.directory, 'python', 'hanse_flare.py')
  throw new LaunchError(
    'ERR_LAUNCH_OPTIONS',
    'a Python trainer needs @hanse/client, which is not given',
  )
}

/** Jobs have no package.json to say that their modules are modules. */
const QUIET = '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON'

function nodeOptions(options: {
  seatBelt: string
  read: readonly string[]
  write: readonly string[]
}): string[] {
  return [
    '--permission',
    ...options.read.map((path) => `--allow-fs-read=${path}`),
    ...options.write.map((path) => `--allow-fs-write=${path}`),
    '--import',
    pathToFileURL(options.seatBelt).href,
    QUIET,
  ]
}

function environmentOf(
  program: ConfinedProgram,
  home: string,
  temporary: string,
): Record<string, string> {
  return {
    LANG: 'C.UTF-8',
    ...program.runtime.environment,
    HOME: home,
    TMPDIR: temporary,
    HANSE_TRAINER_PIPE: '3',
  }
}

function readOnly(source: string, target: string): Grant {
  return { access: 'ro', source, target }
}

/**
 * The program at its place. In a folder that is granted anyway it is there already; if it is a link there, as in
 * Python's virtual environments, every place that the link leads over is granted too.
 */
function executableGrants(program: string, target: string, granted: readonly string[]): Grant[] {
  const isGranted = (path: string): boolean =>
    granted.some((folder) => path === folder || path.startsWith(`${folder}/`))
  const real = realpathSync(program)
  if (!isGranted(target)) return [readOnly(real, target)]
  return linkSteps(program)
    .filter((step) => !isGranted(step))
    .map((step) => readOnly(real, step))
}

/** Where a link points to, where that points to, and so on to the file itself. */
function linkSteps(path: string): string[] {
  const steps: string[] = []
  for (let step = path; lstatSync(step).isSymbolicLink() && steps.length < 40; ) {
    step = resolve(dirname(step), readlinkSync(step))
    steps.push(step)
  }
  return steps
}

/** Where `/lib` is a link to `/usr/lib`, the link is made anew instead. */
function isRealPath(path: string): boolean {
  return existsSync(path) && realpathSync(path) === path
}

function mapValues<Value, Result>(
  record: Readonly<Record<string, Value>>,
  change: (value: Value, key: string) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]))
}
