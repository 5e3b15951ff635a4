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

/** The child's end of the private pipe. */
export interface ParentPipe {
  readonly stream: Duplex
  /**
   * The folder that the parent gives this process to work in, once it does: the first line of what it sends. Call it
   * before anything else reads the stream.
   */
  assignment(): Promise<string>
  /** From now on the end of the pipe is expected: the job is over and says so itself. */
  release(): void
}

/**
 * Opens the private pipe to the parent, for `main` of a job process. The kernel closes the parent's end however
 * the parent ends, `kill -9` included; unless the pipe was released, the child then ends itself and its group.
 */
export function openParentPipe(options: ParentPipeOptions = {}): ParentPipe {
  const stream = new Socket({ fd: options.fd ?? PARENT_PIPE, readable: true, writable: true })
  let released = false
  stream.on('close', () => {
    if (!released) (options.onParentGone ?? endGroup)()
  })
  stream.on('error', () => {})
  return {
    stream,
    assignment: () => readAssignment(stream),
    release() {
      released = true
    },
  }
}

/** More than any path. */
const MAX_ASSIGNMENT_BYTES = 65_536
const NEWLINE = 10

function readAssignment(stream: Socket): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let bytes: Uint8Array = new Uint8Array()
  const onReadable = () => {
    for (;;) {
      const chunk = stream.read() as Uint8Array | null // no encoding is set
      if (chunk === null) return
      bytes = Buffer.concat([bytes, chunk])
      const end = bytes.indexOf(NEWLINE)
      if (end === -1 && bytes.length <= MAX_ASSIGNMENT_BYTES) continue
      stream.off('readable', onReadable)
      if (end === -1) reject(new Error(`no end of line in ${bytes.length} bytes from the parent`))
      else {
        stream.unshift(bytes.subarray(end + 1))
        resolve(String(JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)))))
      }
      return
    }
  }
  stream.on('readable', onReadable)
  return promise
}

function endGroup(): void {
  // We lead our group (startJobProcess made it), so its id is our pid.
  signalGroup(process.pid, 'SIGKILL')
  process.exit(1)
}
