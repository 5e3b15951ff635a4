import { readdirSync, readFileSync } from 'node:fs'

/** What is known of one process. */
interface Watched {
  readonly root: string
  role: string
  ticks: number
  peakKb: number
}

/** Clock ticks a second of `/proc/<pid>/stat`; the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** What the processes that were there held at one time. */
export interface MemoryLook {
  /** Ms since the epoch. */
  readonly at: number
  readonly processes: readonly {
    readonly root: string
    readonly role: string
    readonly rssMb: number
  }[]
}

/** What one process used. */
export interface ProcessUsage {
  readonly role: string
  readonly cpuSeconds: number
  readonly peakRssMb: number
}

/**
 * Follows some processes and everything they start: CPU seconds over time, peak memory of each. Children that left
 * their parent stay followed. Looks in intervals: the last tenths of a process that ends are missed.
 */
export class ProcessWatch implements Disposable {
  readonly #roots: ReadonlyMap<number, string>
  readonly #roleOf: (root: string, command: string) => string
  readonly #watched = new Map<string, Watched>()
  readonly #timer: NodeJS.Timeout
  readonly #memory: {
    readonly at: number
    readonly held: readonly (readonly [Watched, number])[]
  }[] = []
  /** Ticks by role at the times of our looks. */
  readonly #history: { readonly at: number; readonly ticks: ReadonlyMap<string, number> }[] = []

  /**
   * @param roots process id → name
   * @param roleOf names a process from its root's name and its command line
   */
  constructor(
    roots: ReadonlyMap<number, string>,
    roleOf: (root: string, command: string) => string = (root) => root,
    intervalMs = 200,
  ) {
    this.#roots = roots
    this.#roleOf = roleOf
    this.look()
    this.#timer = setInterval(() => this.look(), intervalMs)
  }

  /** Takes a look now, beside those in intervals. */
  look(): void {
    const at = Date.now()
    const all = readProcesses()
    const held: (readonly [Watched, number])[] = []
    for (const [pid, { key, parent, ticks }] of all) {
      let watched = this.#watched.get(key)
      if (watched === undefined) {
        const root = this.#rootOf(pid, all)
        if (root === undefined) continue
        watched = { root, role: root, ticks: 0, peakKb: 0 }
        this.#watched.set(key, watched)
      }
      // A process may become another program after it was started; an empty line is that of one that ended.
      const command = commandOf(pid)
      if (command !== '') watched.role = this.#roleOf(watched.root, command)
      watched.ticks = ticks
      // Until it becomes a program of its own, a new process is a copy of its parent: the memory it has is not more.
      if (command === commandOf(parent)) continue
      const status = readText(`/proc/${pid}/status`)
      const kb = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
      watched.peakKb = Math.max(watched.peakKb, kb('VmHWM'))
      held.push([watched, kb('VmRSS')])
    }
    this.#memory.push({ at, held })
    const byRole = new Map<string, number>()
    for (const { role, ticks } of this.#watched.values())
      byRole.set(role, (byRole.get(role) ?? 0) + ticks)
    this.#history.push({ at, ticks: byRole })
  }

  /** CPU seconds of all together, or of those with one role, between two times (ms since the epoch). */
  cpuSecondsBetween(start: number, end: number, role?: string): number {
    return (this.#ticksAt(end, role) - this.#ticksAt(start, role)) / TICKS_PER_SECOND
  }

  /** What each process used so far, in the order they were seen. */
  usage(): ProcessUsage[] {
    return [...this.#watched.values()].map(({ role, ticks, peakKb }) => ({
      role,
      cpuSeconds: ticks / TICKS_PER_SECOND,
      peakRssMb: peakKb / 1024,
    }))
  }

  /** What they held at each look, in order. A page that two processes share counts at both. */
  memory(): MemoryLook[] {
    return this.#memory.map(({ at, held }) => ({
      at,
      processes: held.map(([{ root, role }, kb]) => ({ root, role, rssMb: kb / 1024 })),
    }))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #ticksAt(at: number, role: string | undefined): number {
    const ticksOf = (look: { readonly ticks: ReadonlyMap<string, number> }) =>
      role === undefined
        ? [...look.ticks.values()].reduce((sum, ticks) => sum + ticks, 0)
        : (look.ticks.get(role) ?? 0)
    const next = this.#history.findIndex((look) => look.at >= at)
    const after = next === -1 ? this.#history.at(-1) : this.#history[next]
    if (after === undefined) return 0
    const before = this.#history[next - 1]
    if (before === undefined || after.at === before.at) return ticksOf(after)
    const share = (at - before.at) / (after.at - before.at)
    return ticksOf(before) + share * (ticksOf(after) - ticksOf(before))
  }

  #rootOf(pid: number, all: ReadonlyMap<number, Seen>): string | undefined {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = all.get(at)?.parent) {
      const root = this.#roots.get(at)
      if (root !== undefined) return root
    }
    return undefined
  }
}

interface Seen {
  /** Process ids come again: with its start time one is unique. */
  readonly key: string
  readonly parent: number
  readonly ticks: number
}

/** Everything `pid` started that still runs, itself included. */
export function processTree(pid: number): number[] {
  const all = readProcesses()
  const tree = new Set([pid])
  for (let before = 0; before !== tree.size; ) {
    before = tree.size
    for (const [child, { parent }] of all) if (tree.has(parent)) tree.add(child)
  }
  return [...tree].filter((it) => all.has(it))
}

function readProcesses(): Map<number, Seen> {
  const seen = new Map<number, Seen>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const stat = readText(`/proc/${pid}/stat`)
    // The name is in brackets and may hold anything; fields after it are numbered from 3 (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields.length < 20) continue
    seen.set(pid, {
      key: `${pid}@${fields[19]}`,
      parent: Number(fields[1]),
      ticks: Number(fields[11]) + Number(fields[12]),
    })
  }
  return seen
}

function commandOf(pid: number): string {
  return readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
}

/** Empty for a process that ended while we looked. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
