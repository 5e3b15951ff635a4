import { mkdtemp, rm } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '@hanse/contract'
import { type GroupProcess, startInGroup } from '../group-process.ts'
import { LaunchError } from '../launch-error.ts'
import type { ProcessExit } from '../process-exit.ts'
import type { ClientPackage } from './client-packages.ts'
import { type ConfinedProgram, checkProgram, type TrainerLimits } from './confined-program.ts'
import { type ConfinementLevel, meetsLevel } from './confinement-level.ts'
import { type ConfinementTools, findConfinementTools } from './confinement-tools.ts'
import { missingTools, type NamespaceTool, namespaceCommand } from './namespace-tool.ts'
import { limitOptions } from './resource-limits.ts'
import { namespaceView, nodePermissionView, openView, type SandboxView } from './sandbox-view.ts'
import { SETUP_FAILED, SETUP_FAILED_PREFIX } from './setup-script.ts'
import { ownNodeRuntime } from './trainer-runtime.ts'

/** The best that this machine gives, and why it gives no better. */
export interface ConfinementReport {
  readonly level: Exclude<ConfinementLevel, 'none'>
  /** What makes the namespaces; absent at the level `node-permission`. */
  readonly tool?: NamespaceTool | undefined
  /** One sentence for each tool that was tried and does not work here. */
  readonly shortcomings: readonly string[]
}

/** A trainer that runs. */
export interface ConfinedProcess extends GroupProcess {
  readonly level: ConfinementLevel
  /** E.g. `namespaces (unshare) and node-permission`, for logs and the record. */
  readonly confinement: string
  /** Folders as the trainer sees them, to be told in `welcome`. */
  readonly datasets: Readonly<Record<string, string>>
  readonly scratchDirectory: string
}

export interface TrainerLauncherComponents {
  readonly logger: Logger
  /** What trainers get of Hanse: Node's may import them, Python's start through one (`findClientPackages`). */
  readonly packages: readonly ClientPackage[]
  /** Default: what is found in the system's folders. */
  readonly tools?: ConfinementTools | undefined
  /** What these tools can do, if somebody tries it already; a failure is that of the first launch. */
  readonly detection?: Promise<ConfinementReport> | undefined
}

export interface TrainerLauncher {
  /** Tries what this machine can do, once; later calls return the same report. */
  detect(): Promise<ConfinementReport>
  /**
   * Starts `program` as strictly as this machine can.
   * @throws {LaunchError} `ERR_CONFINEMENT_LEVEL` when that is less than `minimumLevel`, `ERR_LAUNCH`,
   * `ERR_LAUNCH_OPTIONS`
   */
  launch(program: ConfinedProgram, minimumLevel: ConfinementLevel): Promise<ConfinedProcess>
}

/**
 * Starts trainers in confinement. Call it from a process's main thread: trainers die with the thread that
 * started them.
 */
export function createTrainerLauncher(components: TrainerLauncherComponents): TrainerLauncher {
  const tools = components.tools ?? findConfinementTools()
  const { logger, packages } = components
  let { detection } = components
  const detect = (): Promise<ConfinementReport> => (detection ??= detectWith(tools))

  return {
    detect,
    async launch(program, minimumLevel) {
      checkProgram(program)
      const report = await detect()
      const level = levelFor(program, report)
      if (!meetsLevel(level, minimumLevel))
        throw new LaunchError(
          'ERR_CONFINEMENT_LEVEL',
          refusal(program, level, minimumLevel, report),
        )

      const view = viewAt(level, program, packages)
      const command =
        level === 'namespaces'
          ? namespaceCommand(report.tool!, tools, view, program.limits)
          : [...view.command]
      const child = await start(program, view, [...guards(tools, program.limits), ...command])
      const confinement = describe(level, program, report)
      logger.info('trainer started', { pid: child.pid, confinement })
      return {
        ...child,
        exited: child.exited.then((exit) => translate(exit, level)),
        level,
        confinement,
        datasets: view.datasets,
        scratchDirectory: view.scratchDirectory,
      }
    },
  }
}

/** The best level that this machine gives to Node trainers; `hanse doctor` and kits ask before any job does. */
export async function detectConfinement(
  tools: ConfinementTools = findConfinementTools(),
): Promise<ConfinementReport> {
  return await detectWith(tools)
}

async function detectWith(tools: ConfinementTools): Promise<ConfinementReport> {
  const shortcomings: string[] = []
  for (const tool of ['bubblewrap', 'unshare'] as const) {
    const missing = missingTools(tool, tools)
    if (missing.length > 0) {
      shortcomings.push(`${tool}: ${missing.join(', ')} not installed`)
      continue
    }
    const reason = await tryOut(tool, tools)
    if (reason === undefined) return { level: 'namespaces', tool, shortcomings }
    shortcomings.push(`${tool}: ${reason}`)
  }
  return { level: 'node-permission', shortcomings }
}

/** Runs nothing, but confined: the only proof that it works here. Returns why it did not. */
async function tryOut(tool: NamespaceTool, tools: ConfinementTools): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'hanse-confinement-'))
  try {
    const program: ConfinedProgram = {
      runtime: ownNodeRuntime(),
      arguments: ['--eval', '0'],
      appDirectory: directory,
      scratchDirectory: directory,
    }
    const view = namespaceView(program, [])
    const command = [...guards(tools), ...namespaceCommand(tool, tools, view)]
    const child = await start(program, view, command)
    child.pipe.destroy()
    const exit = await child.exited
    if (exit.code === 0) return undefined
    return exit.errorTail.join(' ').slice(0, 500) || `it ended with exit code ${exit.code}`
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function start(
  program: ConfinedProgram,
  view: SandboxView,
  command: readonly string[],
): Promise<GroupProcess> {
  return await startInGroup({
    program: command[0]!,
    arguments: command.slice(1),
    environment: view.environment,
    // The tools change it; what they start in must only exist.
    directory: program.appDirectory,
    output: program.output,
  })
}

/** What runs around every trainer where Linux has it: it dies with its parent, and within limits. */
function guards(tools: ConfinementTools, limits?: TrainerLimits): string[] {
  const guard: string[] = []
  if (tools.setpriv !== undefined) guard.push(tools.setpriv, '--pdeathsig', 'SIGKILL', '--')
  if (tools.prlimit !== undefined) guard.push(tools.prlimit, ...limitOptions(limits), '--')
  return guard
}

function levelFor(program: ConfinedProgram, report: ConfinementReport): ConfinementLevel {
  if (report.level === 'namespaces') return 'namespaces'
  return program.runtime.kind === 'node' ? 'node-permission' : 'none'
}

function viewAt(
  level: ConfinementLevel,
  program: ConfinedProgram,
  packages: readonly ClientPackage[],
): SandboxView {
  switch (level) {
    case 'namespaces':
      return namespaceView(program, packages)
    case 'node-permission':
      return nodePermissionView(program, packages)
    case 'none':
      return openView(program, packages)
  }
}

function describe(
  level: ConfinementLevel,
  program: ConfinedProgram,
  report: ConfinementReport,
): string {
  if (level !== 'namespaces') return level
  const belt = program.runtime.kind === 'node' ? ' and node-permission' : ''
  return `namespaces (${report.tool})${belt}`
}

function refusal(
  program: ConfinedProgram,
  level: ConfinementLevel,
  minimum: ConfinementLevel,
  report: ConfinementReport,
): string {
  const why = report.shortcomings.join('; ')
  const what = program.runtime.kind === 'node' ? 'trainers' : 'this runtime'
  return `the site asks for confinement level "${minimum}", and here ${what} can have "${level}" at most (${why})`
}

/** The shell and bubblewrap report a signal as 128 + its number. */
function translate(exit: ProcessExit, level: ConfinementLevel): ProcessExit {
  if (level !== 'namespaces' || exit.code === null || exit.code <= 128) return exit
  const number = exit.code - 128
  const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
  return signal === undefined ? exit : { ...exit, code: null, signal }
}

/** True when nothing of the program ran: the confinement itself could not be set up. */
export function failedInSetup(exit: ProcessExit): boolean {
  return (
    (exit.code === SETUP_FAILED &&
      exit.errorTail.some((line) => line.startsWith(SETUP_FAILED_PREFIX))) ||
    (exit.code === 1 && exit.errorTail.some((line) => line.startsWith('bwrap: ')))
  )
}
