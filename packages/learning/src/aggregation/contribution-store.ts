import { type ByteStore, type Logger, messageOf, type StoredBytes } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import {
  allocate,
  commonDType,
  type DType,
  elementCount,
  type Framework,
  isTensor,
  itemSize,
  lanesOf,
  meanDType,
  storedElementsOf,
  storedTensor,
  Tensor,
  type TypedArray,
  tensorBytes,
  tensorFromBytes,
  WeightedSum,
} from '@hanse/tensor'
import { LearningError } from '../learning-error.ts'
import type { ValueMap } from '../model/dxo.ts'
import { scalarOf } from '../model/numbers.ts'
import type { Acceptance } from './acceptance.ts'
import { Breather } from './breather.ts'
import type { Spool, SpoolFactory } from './spool.ts'

export interface ContributionStoreComponents {
  readonly log: Logger
  /** Absent: what does not fit the memory is refused. */
  readonly spools?: SpoolFactory
  /** Where means are written that are too long for memory. Absent: means stay in memory. */
  readonly arrays?: ByteStore
}

export interface ContributionStoreOptions {
  /** Bytes of contributions kept in memory by all stores of a run together. Default 256 MiB. */
  readonly memoryBytes?: number
  /** Contributions per round. Default 10,000. */
  readonly maxContributions?: number
  /** Parameters per contribution. Default 100,000. */
  readonly maxParams?: number
}

/** Makes one store per round; all share one budget of memory. */
export interface ContributionStores {
  create(): ContributionStore
}

/** What one site adds to a round. */
export interface Contribution {
  readonly site: string
  /**
   * Tensors and numbers by name. Kept, not copied: nobody may change them afterwards. The elements of stored tensors
   * are released with the contribution.
   */
  readonly params: ValueMap
  /** Finite and ≥ 0; 0 counts as taking part without adding anything. */
  readonly weight: number
  /** Contributions of different kinds (whole models, differences) are never mixed. */
  readonly kind: string
}

/** The weighted mean of a round. */
export interface ContributionMean {
  /** Parameter → mean over the sites that sent it, each with its own denominator. */
  readonly params: Map<string, FobsValue>
  readonly kind: string
  /** Sites whose contributions are in it, sorted. */
  readonly sites: readonly string[]
  /** Accepted contributions that do not fit the others, left out whole. */
  readonly leftOut: readonly { readonly site: string; readonly reason: string }[]
}

interface Param {
  /** `undefined` marks a plain number. */
  readonly tensor:
    | { readonly dtype: DType; readonly shape: readonly number[]; readonly framework: Framework }
    | undefined
  /** The elements: in memory, where they begin in the spool, or stored when they arrived. */
  readonly data: TypedArray | number | StoredBytes
}

interface Entry {
  readonly weight: number
  readonly kind: string
  readonly params: ReadonlyMap<string, Param>
  readonly bytes: number
  readonly spool: Spool | undefined
}

const MIB = 1024 * 1024
/** Elements that are summed at a time: their float64 sums fit a processor's cache. */
const BLOCK_ELEMENTS = 64 * 1024
/** Bytes of a complex128. */
const WIDEST_ELEMENT = 16

/** One budget of memory for all rounds of a run. */
export function createContributionStores(
  components: ContributionStoreComponents,
  options: ContributionStoreOptions = {},
): ContributionStores {
  const settings = {
    memoryBytes: options.memoryBytes ?? 256 * MIB,
    maxContributions: options.maxContributions ?? 10_000,
    maxParams: options.maxParams ?? 100_000,
  }
  const budget = { used: 0 }
  return { create: () => new ContributionStore(components, settings, budget) }
}

/**
 * The contributions of one round. A contribution counts whole or not at all: it is checked, kept or
 * spooled, and only when it is complete does it count. The mean runs over the sites in sorted order, block
 * by block, so the same contributions give the same bits whatever order they came in.
 *
 * Memory: what the budget allows for contributions, one block of sums, and the result.
 */
export class ContributionStore {
  readonly #components: ContributionStoreComponents
  readonly #settings: Required<ContributionStoreOptions>
  readonly #budget: { used: number }
  readonly #entries = new Map<string, Entry>()
  readonly #arriving = new Set<string>()

  constructor(
    components: ContributionStoreComponents,
    settings: Required<ContributionStoreOptions>,
    budget: { used: number },
  ) {
    this.#components = components
    this.#settings = settings
    this.#budget = budget
  }

  /** Complete contributions. */
  get size(): number {
    return this.#entries.size
  }

  /** Takes a contribution whole, or says why not. A second one of a site is refused. */
  async add({ site, params, weight, kind }: Contribution): Promise<Acceptance> {
    const refuse = (reason: string): Acceptance => ({ accepted: false, reason })
    if (this.#entries.has(site) || this.#arriving.has(site))
      return refuse('the site has contributed to this round before')
    if (!(weight >= 0 && weight < Infinity))
      return refuse(`weight ${weight} is not a finite number, 0 or more`)
    if (this.#entries.size + this.#arriving.size >= this.#settings.maxContributions)
      return refuse(
        `the round has ${this.#settings.maxContributions} contributions, the most allowed`,
      )
    if (params.size === 0) return refuse('it is empty')
    if (params.size > this.#settings.maxParams)
      return refuse(`${params.size} parameters are more than ${this.#settings.maxParams}`)
    const kept = new Map<string, Param>()
    let bytes = 0
    for (const [name, value] of params) {
      const param = readParam(value)
      if (param === undefined)
        return refuse(`parameter "${name.slice(0, 80)}" is neither an array nor a number`)
      kept.set(name, param)
      bytes += bytesInMemory(param)
    }
    this.#arriving.add(site)
    try {
      const entry = await this.#keep(site, kept, bytes, { weight, kind })
      if (entry === undefined)
        return refuse(
          `it has ${bytes} bytes, the memory for contributions has ${this.#settings.memoryBytes} and there is no spool`,
        )
      // Closed meanwhile: the round is over.
      if (!this.#arriving.has(site)) {
        await this.#free(entry)
        return refuse('the round is over')
      }
      this.#entries.set(site, entry)
      return { accepted: true, weight }
    } finally {
      this.#arriving.delete(site)
    }
  }

  /**
   * The weighted mean Σ w·v / Σ w of every parameter.
   *
   * Contributions that do not fit together cannot be mixed: per round the kind that most sites sent, and
   * per parameter the shape that most sites sent, stay (on a tie that of the first site in order); a
   * contribution that differs is left out whole.
   * @param options.preweighted values were multiplied by their weights at the sites
   * @throws {LearningError} `ERR_ROUND` when nothing with a weight above 0 is left
   */
  async mean(options: { readonly preweighted?: boolean } = {}): Promise<ContributionMean> {
    const sorted = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1))
    const kind = mostFrequent(sorted.map(([, entry]) => entry.kind))
    if (kind === undefined) throw new LearningError('ERR_ROUND', 'the round has no contribution')
    const leftOut: { site: string; reason: string }[] = []
    const shapes = layout(sorted.filter(([, entry]) => entry.kind === kind))
    const fitting = sorted.filter(([site, entry]) => {
      const reason = misfit(entry, kind, shapes)
      if (reason !== undefined) leftOut.push({ site, reason })
      return reason === undefined
    })
    for (const { site, reason } of leftOut)
      this.#components.log.warn('a contribution does not fit the others and was left out', {
        site,
        reason,
      })
    const counting = fitting.filter(([, entry]) => entry.weight > 0)
    if (counting.length === 0)
      throw new LearningError('ERR_ROUND', 'the contributions of the round have no weight')
    const params = new Map<string, FobsValue>()
    const breather = new Breather()
    for (const name of new Set(counting.flatMap(([, entry]) => [...entry.params.keys()])))
      params.set(
        name,
        await meanOf(
          name,
          counting.map(([, entry]) => entry),
          options,
          { breather, arrays: this.#components.arrays },
        ),
      )
    return { params, kind, sites: fitting.map(([site]) => site), leftOut }
  }

  /** Forgets all contributions and deletes their spools. Contributions still arriving will not count. */
  async clear(): Promise<void> {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    this.#arriving.clear()
    for (const entry of entries) await this.#free(entry)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear()
  }

  async #keep(
    site: string,
    params: ReadonlyMap<string, Param>,
    bytes: number,
    rest: Pick<Entry, 'weight' | 'kind'>,
  ): Promise<Entry | undefined> {
    if (this.#budget.used + bytes <= this.#settings.memoryBytes) {
      this.#budget.used += bytes
      return { ...rest, params, bytes, spool: undefined }
    }
    if (this.#components.spools === undefined) return undefined
    const spool = await this.#components.spools.create(site)
    try {
      const spooled = new Map<string, Param>()
      let offset = 0
      for (const [name, { tensor, data }] of params) {
        if (tensor === undefined || !ArrayBuffer.isView(data)) {
          spooled.set(name, { tensor, data })
          continue
        }
        await spool.append(tensorBytes(new Tensor(tensor.dtype, tensor.shape, data)))
        spooled.set(name, { tensor, data: offset })
        offset += data.byteLength
      }
      return { ...rest, params: spooled, bytes: 0, spool }
    } catch (error) {
      await spool[Symbol.asyncDispose]()
      throw error
    }
  }

  async #free(entry: Entry): Promise<void> {
    this.#budget.used -= entry.bytes
    for (const { data } of entry.params.values()) if (isStored(data)) data.release()
    await entry.spool?.[Symbol.asyncDispose]()
  }
}

function readParam(value: FobsValue): Param | undefined {
  if (isTensor(value)) {
    const { dtype, shape, framework = 'numpy' } = value
    return { tensor: { dtype, shape, framework }, data: storedElementsOf(value) ?? value.data }
  }
  const number = scalarOf(value)
  return number === undefined ? undefined : { tensor: undefined, data: number }
}

function isStored(data: Param['data']): data is StoredBytes {
  return typeof data === 'object' && !ArrayBuffer.isView(data)
}

function bytesInMemory({ data }: Param): number {
  if (typeof data === 'number') return 8
  return isStored(data) ? 0 : data.byteLength
}

/** What arrays must have in common to be summed. */
function shapeOf({ tensor }: Param): string {
  return tensor === undefined ? 'number' : `${tensor.framework}(${tensor.shape.join(',')})`
}

function layout(entries: readonly (readonly [string, Entry])[]): Map<string, string> {
  const seen = new Map<string, string[]>()
  for (const [, { params }] of entries)
    for (const [name, param] of params) {
      const shapes = seen.get(name)
      if (shapes === undefined) seen.set(name, [shapeOf(param)])
      else shapes.push(shapeOf(param))
    }
  return new Map([...seen].map(([name, shapes]) => [name, mostFrequent(shapes) ?? '']))
}

/** The value that occurs most often; of several the one that occurs first. */
function mostFrequent(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  let best: string | undefined
  for (const [value, count] of counts)
    if (best === undefined || count > (counts.get(best) ?? 0)) best = value
  return best
}

function misfit(
  entry: Entry,
  kind: string,
  shapes: ReadonlyMap<string, string>,
): string | undefined {
  if (entry.kind !== kind) return `it is ${entry.kind} where most sites sent ${kind}`
  for (const [name, param] of entry.params)
    if (shapeOf(param) !== shapes.get(name))
      return `parameter "${name.slice(0, 80)}" is ${shapeOf(param)} where most sites sent ${shapes.get(name)}`
  return undefined
}

async function meanOf(
  name: string,
  entries: readonly Entry[],
  options: { readonly preweighted?: boolean },
  { breather, arrays }: { readonly breather: Breather; readonly arrays: ByteStore | undefined },
): Promise<FobsValue> {
  const parts = entries.flatMap((entry) => {
    const param = entry.params.get(name)
    return param === undefined ? [] : [{ entry, param }]
  })
  const first = parts[0]!.param.tensor // the name came from one of the entries
  if (first === undefined) {
    const sum = new WeightedSum('float64', 1)
    for (const { entry, param } of parts)
      sum.add('float64', Float64Array.of(Number(param.data)), entry.weight, options)
    return Number(sum.mean()[0])
  }
  const types = parts.map(({ param }) =>
    meanDType(param.tensor?.dtype ?? first.dtype, first.framework),
  )
  const dtype = types.reduce((a, b) => commonDType(a, b, first.framework))
  const count = elementCount(first.shape)
  const out = meanOutput(dtype, count, arrays)
  const scratch = new Uint8Array(
    parts.some(({ param }) => isStored(param.data))
      ? Math.min(count, BLOCK_ELEMENTS) * WIDEST_ELEMENT
      : 0,
  )
  let sum = new WeightedSum(dtype, Math.min(count, BLOCK_ELEMENTS))
  for (let start = 0; start < count; start += BLOCK_ELEMENTS) {
    const length = Math.min(BLOCK_ELEMENTS, count - start)
    if (start > 0 && length < BLOCK_ELEMENTS) sum = new WeightedSum(dtype, length)
    else sum.reset()
    for (const { entry, param } of parts) {
      const own = param.tensor?.dtype ?? dtype
      const values = await readBlock(entry, param, own, start, length, scratch)
      sum.add(own, values, entry.weight, options)
      await breather.worked(length)
    }
    out.take(sum, start, length)
  }
  return out.tensor(first.shape, first.framework === 'numpy' ? undefined : first.framework)
}

/** Where the blocks of a mean go: memory, or a store if they are many. */
function meanOutput(dtype: DType, count: number, arrays: ByteStore | undefined) {
  const size = itemSize(dtype)
  if (arrays !== undefined && count * size >= arrays.minBytes) {
    const elements = arrays.reserve(count * size)
    const block = allocate(dtype, Math.min(count, BLOCK_ELEMENTS))
    const lanes = lanesOf(dtype)
    return {
      take(sum: WeightedSum, start: number, length: number): void {
        const values = block.subarray(0, length * lanes)
        sum.meanInto(values)
        try {
          elements.write(tensorBytes(new Tensor(dtype, [length], values)), start * size)
        } catch (cause) {
          elements.release()
          throw new LearningError(
            'ERR_ROUND',
            `the mean of ${megabytes(count * size)} does not fit on the disk beside the contributions: ${messageOf(cause)}; the server's disk must hold the models of a round`,
            {},
            { cause },
          )
        }
      },
      tensor: (shape: readonly number[], framework?: Framework) =>
        storedTensor(dtype, shape, elements, framework),
    }
  }
  const out = allocate(dtype, count)
  const lanes = lanesOf(dtype)
  return {
    take(sum: WeightedSum, start: number, length: number): void {
      sum.meanInto(out.subarray(start * lanes, (start + length) * lanes))
    },
    tensor: (shape: readonly number[], framework?: Framework) =>
      new Tensor(dtype, shape, out, framework),
  }
}

/**
 * Some elements of a contribution; those that are stored come into `scratch`, at once: the file's pages are in memory
 * mostly, and a thread that waits for them costs more than the copy.
 */
async function readBlock(
  { spool }: Entry,
  { data }: Param,
  dtype: DType,
  start: number,
  length: number,
  scratch: Uint8Array,
): Promise<TypedArray> {
  const lanes = lanesOf(dtype)
  if (ArrayBuffer.isView(data)) return data.subarray(start * lanes, (start + length) * lanes)
  if (isStored(data)) {
    const bytes = scratch.subarray(0, length * itemSize(dtype))
    data.read(bytes, start * itemSize(dtype))
    return tensorFromBytes(dtype, [length], bytes).data
  }
  if (spool === undefined) throw new LearningError('ERR_ROUND', 'a contribution has lost its spool')
  const size = itemSize(dtype)
  return tensorFromBytes(dtype, [length], await spool.read(data + start * size, length * size)).data
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MB`
}
