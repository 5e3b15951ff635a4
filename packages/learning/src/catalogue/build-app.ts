import type { JsonObject, JsonValue } from '@hanse/contract'
import type { Executor, Filter, Workflow } from '../components/contracts.ts'
import { isExecutor, isFilter, isWorkflow } from '../components/guards.ts'
import type { RunContext } from '../components/run-context.ts'
import { type EventHandler, isEventHandler } from '../components/run-events.ts'
import { ExecutorTable } from '../executors/executor-table.ts'
import { FilterChains } from '../filters/filter-chains.ts'
import { LearningError } from '../learning-error.ts'
import { type ConfigElement, readAppConfig, readDirection, readTasks } from './app-config.ts'
import type {
  BuildContext,
  Catalogue,
  ComponentEntry,
  ComponentKind,
  SiteContext,
} from './catalogue.ts'
import {
  findComponent,
  isNestedComponent,
  parseArgs,
  readComponentConfig,
} from './component-config.ts'

/** A job's server app, ready to run. */
export interface ServerApp {
  readonly workflows: readonly { readonly id: string; readonly workflow: Workflow }[]
  readonly components: ReadonlyMap<string, unknown>
  readonly filters: FilterChains
  /** Components that want events, in the order in which they were made. */
  readonly handlers: readonly EventHandler[]
}

/** A job's client app, ready to run. */
export interface ClientApp {
  readonly executors: ExecutorTable
  readonly components: ReadonlyMap<string, unknown>
  readonly filters: FilterChains
  /** Everything that was made, in order: owners dispose what is disposable. */
  readonly all: readonly unknown[]
}

/** A component that cannot be had, and why. */
export interface AppProblem {
  readonly where: string
  readonly code: string
  readonly message: string
}

/**
 * Makes all components of a server app (jobs.md §3).
 * @param config with its variables filled in
 * @param createContext what components get; `component` finds them by id once all are made
 * @throws {LearningError} `ERR_APP_CONFIG`, `ERR_COMPONENT_…`
 */
export function buildServerApp(
  config: JsonObject,
  {
    catalogue,
    createContext,
  }: {
    readonly catalogue: Catalogue
    createContext(component: (id: string) => unknown): RunContext
  },
): ServerApp {
  const components = new Map<string, unknown>()
  const run = createContext((id) => components.get(id))
  const builder = new Builder(catalogue, { side: 'server', run, log: run.log }, components)
  const workflows: { id: string; workflow: Workflow }[] = []
  for (const element of readAppConfig(config, 'server')) {
    if (element.section !== 'workflows') builder.addCommon(element)
    else {
      const made = builder.make(element.config, ['workflow'], element.where)
      if (made === undefined) continue
      if (!isWorkflow(made.component)) throw notA('workflow', element.where)
      const id = made.id ?? made.entry.path.slice(made.entry.path.lastIndexOf('.') + 1)
      builder.register(id, made.component, element.where)
      workflows.push({ id, workflow: made.component })
    }
  }
  if (workflows.length === 0)
    throw new LearningError('ERR_APP_CONFIG', 'all workflows are disabled')
  return {
    workflows,
    components,
    filters: builder.filters,
    handlers: builder.all.filter(isEventHandler),
  }
}

/**
 * Makes all components of a client app (jobs.md §3).
 * @param config with its variables filled in
 * @throws {LearningError} `ERR_APP_CONFIG`, `ERR_COMPONENT_…`
 */
export function buildClientApp(
  config: JsonObject,
  { catalogue, site }: { readonly catalogue: Catalogue; readonly site: SiteContext },
): ClientApp {
  const components = new Map<string, unknown>()
  const builder = new Builder(catalogue, { side: 'client', site, log: site.log }, components)
  const executors = new ExecutorTable()
  for (const element of readAppConfig(config, 'client')) {
    if (element.section !== 'executors') builder.addCommon(element)
    else {
      const made = builder.make(executorOf(element), ['executor'], `${element.where}.executor`)
      if (made === undefined) continue
      if (!isExecutor(made.component)) throw notA('executor', element.where)
      executors.add(readTasks(element), made.component satisfies Executor)
    }
  }
  return { executors, components, filters: builder.filters, all: builder.all }
}

/**
 * What is wrong with an app, without making anything: for a job's submission, where a component that
 * nobody has should be refused by name.
 * @param config with its variables filled in
 */
export function checkApp(
  config: JsonObject,
  side: 'server' | 'client',
  catalogue: Catalogue,
): AppProblem[] {
  const problems: AppProblem[] = []
  const attempt = (where: string, check: () => void): void => {
    try {
      check()
    } catch (error) {
      if (!(error instanceof LearningError)) throw error
      problems.push({ where, code: error.code, message: error.message })
    }
  }
  const checkComponent = (
    value: JsonValue | undefined,
    kinds: readonly ComponentKind[] | 'any',
    where: string,
  ): void => {
    const config = readComponentConfig(value, where)
    if (config.disabled) return
    const nested = Object.entries(config.args).filter(([, arg]) => isNestedComponent(arg))
    for (const [name, arg] of nested)
      attempt(`${where}.args.${name}`, () => checkComponent(arg, 'any', `${where}.args.${name}`))
    const entry = findComponent(catalogue, config, side, kinds, where)
    // An argument that is a component can only be judged when it is made.
    if (nested.length === 0) parseArgs(entry, config.args, where)
  }
  attempt('', () => {
    for (const element of readAppConfig(config, side))
      attempt(element.where, () => {
        const { where } = element
        if (element.section === 'workflows') checkComponent(element.config, ['workflow'], where)
        else if (element.section === 'components') checkComponent(element.config, 'any', where)
        else if (element.section === 'executors') {
          readTasks(element)
          checkComponent(executorOf(element), ['executor'], `${where}.executor`)
        } else {
          readTasks(element)
          readDirection(element, side)
          for (const [index, filter] of filterList(element).entries())
            attempt(`${where}.filters[${index}]`, () =>
              checkComponent(filter, ['filter'], `${where}.filters[${index}]`),
            )
        }
      })
  })
  return problems
}

interface Made {
  readonly component: unknown
  readonly entry: ComponentEntry
  readonly id: string | undefined
}

class Builder {
  readonly filters = new FilterChains()
  readonly all: unknown[] = []
  readonly #catalogue: Catalogue
  readonly #context: BuildContext
  readonly #components: Map<string, unknown>

  constructor(catalogue: Catalogue, context: BuildContext, components: Map<string, unknown>) {
    this.#catalogue = catalogue
    this.#context = context
    this.#components = components
  }

  /** Makes a component and, before it, those among its arguments; `undefined` when it is disabled. */
  make(
    value: JsonValue | undefined,
    kinds: readonly ComponentKind[] | 'any',
    where: string,
  ): Made | undefined {
    const config = readComponentConfig(value, where)
    if (config.disabled) return undefined
    const entry = findComponent(this.#catalogue, config, this.#context.side, kinds, where)
    const args = Object.fromEntries(
      Object.entries(config.args).map(([name, arg]) => [
        name,
        isNestedComponent(arg)
          ? (this.make(arg, 'any', `${where}.args.${name}`)?.component ?? null)
          : arg,
      ]),
    )
    const parsed = parseArgs(entry, args, where)
    const component = entry.create(parsed, this.#context)
    this.all.push(component)
    return { component, entry, id: config.id }
  }

  register(id: string, component: unknown, where: string): void {
    if (this.#components.has(id))
      throw new LearningError('ERR_APP_CONFIG', `${where}: the id "${id}" is used twice`)
    this.#components.set(id, component)
  }

  addCommon(element: ConfigElement): void {
    const { section, config, where } = element
    if (section === 'components') {
      const made = this.make(config, 'any', where)
      if (made === undefined) return
      if (made.id === undefined) throw new LearningError('ERR_APP_CONFIG', `${where} has no id`)
      this.register(made.id, made.component, where)
      return
    }
    const payload = section === 'task_data_filters' ? 'data' : 'result'
    const filters: Filter[] = []
    for (const [index, filter] of filterList(element).entries()) {
      const made = this.make(filter, ['filter'], `${where}.filters[${index}]`)
      if (made === undefined) continue
      if (!isFilter(made.component)) throw notA('filter', where)
      filters.push(made.component)
    }
    this.filters.add(payload, {
      tasks: readTasks(element),
      filters,
      direction: readDirection(element, this.#context.side),
    })
  }
}

function executorOf({ config: { executor } }: ConfigElement): JsonValue | undefined {
  return executor
}

function filterList({ config: { filters }, where }: ConfigElement): readonly JsonValue[] {
  if (!Array.isArray(filters) || filters.length === 0)
    throw new LearningError('ERR_APP_CONFIG', `${where} needs a list "filters" that is not empty`)
  return filters
}

function notA(kind: ComponentKind, where: string): LearningError {
  return new LearningError('ERR_COMPONENT_SIDE', `${where}: what was made is no ${kind}`)
}
