import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { signalGroup } from './group-process.ts'

/** Descriptor of the pipe to the parent. */
export const PARENT_PIPE = 3

export interface ParentPipeOptions {
  /** Default 3. */
  readonly fd?: number | undefined
  /**
   * What to do once the parent is gone. Default: `SIGKILL` for the own process group, since nobody is left who
   * could take results or say stop.
   */
  readonly onParentGone?: (() => void) | undefined
}

/**
 * The child's end of the private pipe to its parent, for `main` of a job process. The kernel closes the
 * parent's end however the parent ends, `kill -9` included; the child then ends itself and its group. Its
 * trainers, groups of their own, die with it (`ConfinedProcess`).
 *
 * The end is seen by reading, so the pipe must be read. Destroying it on this side is no end of the parent.
 */
export function openParentPipe(options: ParentPipeOptions = {}): Duplex {
  const pipe = new Socket({ fd: options.fd ?? PARENT_PIPE, readable: true, writable: true })
  const onParentGone = options.onParentGone ?? endGroup
  let told = false
  const tell = (): void => {
    if (told) return
    told = true
    onParentGone()
  }
  pipe.on('end', tell)
  pipe.on('error', tell)
  return pipe
}

function endGroup(): void {
  // We lead our group (startJobProcess made it), so its id is our pid.
  signalGroup(process.pid, 'SIGKILL')
  process.exit(1)
}
