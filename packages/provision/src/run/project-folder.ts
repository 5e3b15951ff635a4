import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { KitEntry } from '../kit/kit-layout.ts'
import { ProvisionError } from '../provision-error.ts'
import { writeNewFile } from '../state/write-file.ts'
import type { MadeKit } from './make-kit.ts'
import type { PlannedKit } from './planned-kit.ts'

/** `<out>/<project>`: the numbered folders with kits, and the state. One run at a time works in it. */
export class ProjectFolder {
  readonly path: string
  /** Ours, and where stock has its own. */
  readonly statePath: string
  readonly stockStatePath: string

  private constructor(path: string) {
    this.path = path
    this.statePath = join(path, 'state/hanse_state.json')
    this.stockStatePath = join(path, 'state/cert.json')
  }

  /** Makes the folder if need be. */
  static async open(path: string): Promise<ProjectFolder> {
    await mkdir(join(path, 'state'), { recursive: true, mode: 0o700 })
    return new ProjectFolder(path)
  }

  /**
   * Keeps other runs out until disposed.
   * @throws {ProvisionError} `ERR_OUTPUT` when one works already
   */
  async lock(): Promise<AsyncDisposable> {
    const path = join(this.path, 'state/provisioning.lock')
    try {
      await writeNewFile(path, `${process.pid}\n`, 0o600)
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause
      const since = await stat(path).then(
        ({ mtime }) => mtime.toISOString(),
        () => 'a moment',
      )
      throw new ProvisionError(
        'ERR_OUTPUT',
        `another run works in ${this.path} since ${since}; if it crashed, remove ${path}`,
        {},
        { cause },
      )
    }
    return { [Symbol.asyncDispose]: () => rm(path, { force: true }) }
  }

  /** Names beside the state. */
  async others(): Promise<readonly string[]> {
    return (await readdir(this.path)).filter((name) => name !== 'state')
  }

  kitDirectory(prod: string, participant: string): string {
    return join(this.path, prod, participant)
  }

  /** The youngest `prod_NN` that has a kit of `participant`. */
  async prodOf(participant: string): Promise<string | undefined> {
    for (const number of (await this.#prodNumbers()).toReversed()) {
      const prod = prodName(number)
      if (await exists(this.kitDirectory(prod, participant))) return prod
    }
    return undefined
  }

  /**
   * Makes kits and writes them into the next `prod_NN`: beside it first, then moved there as one step. One kit a core
   * is under way: more keys at once would only keep files waiting for a thread.
   * @returns the kits in the order of `planned`
   */
  async writeKits(
    planned: readonly PlannedKit[],
    make: (planned: PlannedKit) => Promise<MadeKit>,
  ): Promise<{ readonly prod: string; readonly made: readonly MadeKit[] }> {
    const prod = await this.#nextProd()
    const work = await mkdtemp(join(this.path, '.wip-'))
    try {
      const made: MadeKit[] = []
      const queue = [...planned.entries()]
      const takeTurns = async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          const [i, plan] = next
          const kit = await make(plan)
          await writeKit(join(work, kit.participant.name), kit.entries)
          made[i] = kit
        }
      }
      const turns = Array.from({ length: availableParallelism() }, () =>
        takeTurns().catch((error: unknown) => {
          queue.length = 0
          throw error
        }),
      )
      // All of them have stopped writing before anything is moved or removed.
      const failed = (await Promise.allSettled(turns)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
      await rename(work, join(this.path, prod))
      return { prod, made }
    } catch (error) {
      await rm(work, { recursive: true, force: true })
      throw error
    }
  }

  /** The number after the highest one in use; two digits, as stock has it. */
  async #nextProd(): Promise<string> {
    const next = Math.max(-1, ...(await this.#prodNumbers())) + 1
    if (next > 99)
      throw new ProvisionError(
        'ERR_OUTPUT',
        `${this.path} has a prod_99, the last number there is; move old folders away`,
      )
    return prodName(next)
  }

  /** Ascending. */
  async #prodNumbers(): Promise<readonly number[]> {
    return (await readdir(this.path))
      .flatMap((name) => /^prod_(\d\d)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .toSorted((a, b) => a - b)
  }
}

function prodName(number: number): string {
  return `prod_${String(number).padStart(2, '0')}`
}

async function writeKit(directory: string, entries: ReadonlyMap<string, KitEntry>): Promise<void> {
  await mkdir(directory, { mode: 0o755 })
  await mkdir(join(directory, 'startup'), { mode: 0o700 })
  await mkdir(join(directory, 'local'), { mode: 0o755 })
  await mkdir(join(directory, 'transfer'), { mode: 0o755 })
  for (const [path, { content, mode }] of entries)
    await writeNewFile(join(directory, path), content, mode)
}

/** True for whatever lies at `path`. */
export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
