import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex, Readable } from 'node:stream'
import { messageOf } from '@hanse/contract'
import { LaunchError } from './launch-error.ts'
import { OutputLog, type OutputLogOptions } from './output-log.ts'
import type { ProcessExit } from './process-exit.ts'

export interface GroupProcessOptions {
  readonly program: string
  readonly arguments: readonly string[]
  /** The whole environment: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  readonly output?: OutputLogOptions | undefined
}

/** A child in a process group of its own, with a private pipe to it. */
export interface GroupProcess {
  readonly pid: number
  /** Full duplex; the child's end is its descriptor 3. Owned by the caller. */
  readonly pipe: Duplex
  /** Resolves once, when the process is gone and its output was read. */
  readonly exited: Promise<ProcessExit>
  /**
   * Sends output into a file from now on; for processes that were started without one.
   * @throws {LaunchError} `ERR_LAUNCH`
   */
  logTo(output: OutputLogOptions): void
  /** Signals the whole group; default `SIGKILL`. Nothing happens when it is gone. */
  kill(signal?: NodeJS.Signals): void
}

/** How long output is awaited after the end: a grandchild may hold the streams open. */
const OUTPUT_GRACE_MS = 2_000

/**
 * Starts a program as the leader of a new group.
 * @throws {LaunchError} `ERR_LAUNCH`
 */
export async function startInGroup(options: GroupProcessOptions): Promise<GroupProcess> {
  const log = new OutputLog()
  openLog(log, options.output)
  const child = spawn(options.program, options.arguments, {
    cwd: options.directory,
    env: { ...options.environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  // Three times 'pipe': two that the child writes, and a socket for both ways.
  const [, stdout, stderr, pipe] = child.stdio as unknown as [null, Readable, Readable, Duplex]
  log.follow(stdout, 'output')
  log.follow(stderr, 'error')
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  // Without a listener, a program that never started would be an unhandled rejection as well.
  ended.catch(() => {})
  try {
    await once(child, 'spawn')
  } catch (cause) {
    pipe.destroy()
    await log.finish()
    throw new LaunchError(
      'ERR_LAUNCH',
      `${options.program} could not be started: ${messageOf(cause)}`,
      { program: options.program },
      { cause },
    )
  }
  const pid = child.pid!

  let gone = false
  const kill = (signal: NodeJS.Signals = 'SIGKILL'): void => {
    if (gone) return
    signalGroup(pid, signal)
  }
  const finish = async (): Promise<ProcessExit> => {
    const [code, signal] = await ended
    // The leader is gone but not its group: whatever it left behind must not stay.
    signalGroup(pid, 'SIGKILL')
    gone = true
    const timer = setTimeout(() => {
      stdout.destroy()
      stderr.destroy()
    }, OUTPUT_GRACE_MS)
    const errorTail = await log.finish()
    clearTimeout(timer)
    return { code, signal, errorTail }
  }
  return { pid, pipe, exited: finish(), logTo: (output) => openLog(log, output), kill }
}

function openLog(log: OutputLog, options: OutputLogOptions = {}): void {
  try {
    log.open(options)
  } catch (cause) {
    throw new LaunchError(
      'ERR_LAUNCH',
      `the log file could not be opened: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
}

/** Signals the group whose leader was `pid`; a group without members is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: nobody left.
  }
}
