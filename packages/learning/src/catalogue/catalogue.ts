import type { Logger } from '@hanse/contract'
import type { z } from 'zod'
import type { RunContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'

/** What a component is for; a job's config only accepts some kinds in some places. */
export type ComponentKind =
  | 'workflow'
  | 'aggregator'
  | 'model-aggregator'
  | 'assembler'
  | 'persistor'
  | 'shareable-generator'
  | 'model-locator'
  | 'formatter'
  | 'statistics-writer'
  | 'widget'
  | 'filter'
  | 'executor'

export type ComponentSide = 'server' | 'client' | 'both'

/** What a component at a site may use. */
export interface SiteContext {
  readonly siteName: string
  readonly jobId: string
  readonly log: Logger
}

/** Where a component is made. */
export type BuildContext =
  /** Without `run` outside of a job: for what a server asks of all jobs. */
  | { readonly side: 'server'; readonly run?: RunContext; readonly log: Logger }
  | { readonly side: 'client'; readonly site: SiteContext; readonly log: Logger }

/** One class of components that jobs may name. */
export interface ComponentEntry {
  /** The name in the catalogue: stock's full class path where there is one. */
  readonly path: string
  /** Other names of the same, ours (`hanse.…`) included. */
  readonly aliases: readonly string[]
  readonly kind: ComponentKind
  readonly side: ComponentSide
  /** Arguments as a job writes them. */
  readonly args: z.ZodType
  /** @param args what `args` has parsed */
  readonly create: (args: unknown, context: BuildContext) => unknown
}

interface Definition<Args extends z.ZodType> {
  readonly path: string
  readonly aliases?: readonly string[]
  readonly kind: ComponentKind
  readonly args: Args
}

/** A component for servers. */
export function serverComponent<Args extends z.ZodType>(
  definition: Definition<Args> & { create(args: z.output<Args>, run: RunContext): unknown },
): ComponentEntry {
  const { path, aliases = [], kind, args, create } = definition
  return {
    path,
    aliases,
    kind,
    side: 'server',
    args,
    create(parsed, context) {
      if (context.side !== 'server' || context.run === undefined) throw wrongSide(path, 'server')
      return create(parsed as z.output<Args>, context.run) // parsed by `args`
    },
  }
}

/** A component for sites. */
export function clientComponent<Args extends z.ZodType>(
  definition: Definition<Args> & { create(args: z.output<Args>, site: SiteContext): unknown },
): ComponentEntry {
  const { path, aliases = [], kind, args, create } = definition
  return {
    path,
    aliases,
    kind,
    side: 'client',
    args,
    create(parsed, context) {
      if (context.side !== 'client') throw wrongSide(path, 'client')
      return create(parsed as z.output<Args>, context.site) // parsed by `args`
    },
  }
}

/** A component for both. */
export function commonComponent<Args extends z.ZodType>(
  definition: Definition<Args> & { create(args: z.output<Args>, log: Logger): unknown },
): ComponentEntry {
  const { path, aliases = [], kind, args, create } = definition
  return {
    path,
    aliases,
    kind,
    side: 'both',
    args,
    create: (parsed, { log }) => create(parsed as z.output<Args>, log), // parsed by `args`
  }
}

/** What jobs may name at one place. */
export interface Catalogue {
  readonly entries: readonly ComponentEntry[]
  /** By full path or alias. */
  find(path: string): ComponentEntry | undefined
  /** By simple class name; `'ambiguous'` when several classes have it, here or in stock. */
  findByName(name: string): ComponentEntry | 'ambiguous' | undefined
  /** Whether a job's app for that side may name it, by full path, alias or simple class name. */
  offers(pathOrName: string, side: 'server' | 'client'): boolean
}

/** Simple names that several stock classes share: a job that uses one is refused there, and here. */
const AMBIGUOUS_IN_STOCK: ReadonlySet<string> = new Set([
  'Aggregator',
  'FedOpt',
  'FedXGBHistogramExecutor',
  'NPTrainer',
  'XGBFedController',
])

/**
 * A closed catalogue.
 * @throws {LearningError} `ERR_COMPONENT_AMBIGUOUS` when two entries claim one path
 */
export function createCatalogue(entries: readonly ComponentEntry[]): Catalogue {
  const byPath = new Map<string, ComponentEntry>()
  const byName = new Map<string, ComponentEntry | 'ambiguous'>()
  for (const entry of entries)
    for (const path of [entry.path, ...entry.aliases]) {
      if (byPath.has(path))
        throw new LearningError('ERR_COMPONENT_AMBIGUOUS', `two components are called "${path}"`)
      byPath.set(path, entry)
      const name = path.slice(path.lastIndexOf('.') + 1)
      const known = byName.get(name)
      const isClash = AMBIGUOUS_IN_STOCK.has(name) || (known !== undefined && known !== entry)
      byName.set(name, isClash ? 'ambiguous' : entry)
    }
  const find = (path: string) => byPath.get(path)
  const findByName = (name: string) =>
    byName.get(name) ?? (AMBIGUOUS_IN_STOCK.has(name) ? 'ambiguous' : undefined)
  return {
    entries: [...entries],
    find,
    findByName,
    offers(pathOrName, side) {
      const entry = pathOrName.includes('.') ? find(pathOrName) : findByName(pathOrName)
      return typeof entry === 'object' && (entry.side === side || entry.side === 'both')
    },
  }
}

function wrongSide(path: string, side: 'server' | 'client'): LearningError {
  return new LearningError('ERR_COMPONENT_SIDE', `component "${path}" works at a ${side} only`)
}
