import type { JsonObject } from '@hanse/contract'
import { silentLogger } from '@hanse/contract'
import type { Shareable } from '@hanse/session'
import { createContributionStores } from '../src/aggregation/contribution-store.ts'
import { buildServerApp, type ServerApp } from '../src/catalogue/build-app.ts'
import { createCatalogue } from '../src/catalogue/catalogue.ts'
import { resolveVariables } from '../src/catalogue/resolve-variables.ts'
import { standardComponents } from '../src/catalogue/standard-components.ts'
import type { ExecutorTask } from '../src/components/contracts.ts'
import { EventBus } from '../src/components/event-bus.ts'
import type { RunContext } from '../src/components/run-context.ts'
import type { RunEvent } from '../src/components/run-events.ts'
import { RunState } from '../src/components/run-state.ts'
import { HEADER } from '../src/model/fl-model.ts'
import { TaskBoard } from '../src/tasks/task-board.ts'
import { runWorkflows } from '../src/workflows/run-workflows.ts'
import { ManualClock } from './manual-clock.ts'
import { MemoryFiles } from './memory-files.ts'
import type { MemorySpools } from './memory-spools.ts'

/** What a site answers to a task; `undefined`: it never answers. */
export type Trainer = (
  task: ExecutorTask,
  site: string,
) => Shareable | undefined | Promise<Shareable | undefined>

export interface InMemoryRunOptions {
  readonly config: JsonObject
  readonly sites: readonly string[]
  readonly trainer: Trainer
  readonly memoryBytes?: number
  readonly spools?: MemorySpools
  readonly files?: MemoryFiles
  /** Before a site's result is handed in. */
  readonly beforeSubmit?: (site: string, task: ExecutorTask) => Promise<void> | void
  readonly signal?: AbortSignal
  /** To hand in what no honest site would. */
  readonly onBoard?: (board: TaskBoard) => void
  /** To pass time in. */
  readonly clock?: ManualClock
}

export interface InMemoryRun {
  readonly files: MemoryFiles
  readonly events: readonly RunEvent[]
  readonly state: RunState
  readonly app: ServerApp
}

/** Runs a server app against sites that live in this process; real except for the wire. */
export async function runInMemory(options: InMemoryRunOptions): Promise<InMemoryRun> {
  const { sites, trainer, files = new MemoryFiles(), clock = new ManualClock() } = options
  const log = silentLogger
  const bus = new EventBus(log)
  const events: RunEvent[] = []
  bus.add({ onEvent: (event) => void events.push(event) })
  const state = new RunState()
  const ended = new AbortController()
  let context: RunContext | undefined
  const app = buildServerApp(
    resolveVariables(options.config, { system: new Map([['JOB_ID', 'job-1']]) }),
    {
      catalogue: createCatalogue(standardComponents()),
      createContext(component) {
        context = {
          jobId: 'job-1',
          jobName: 'the job',
          sites: () => sites,
          component,
          state,
          events: bus,
          files,
          log,
          clock,
          random: Math.random,
          contributions: createContributionStores(
            { log, ...(options.spools ? { spools: options.spools } : {}) },
            options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes },
          ),
        }
        return context
      },
    },
  )
  for (const handler of app.handlers) bus.add(handler)
  let current: ServerApp['workflows'][number] | undefined
  const filter =
    (direction: 'in' | 'out', payload: 'data' | 'result') =>
    (site: string, taskName: string, data: Shareable) =>
      app.filters.run(data, { taskName, direction, payload, site, log, random: Math.random })
  const board = new TaskBoard({
    clock,
    log,
    newId: () => crypto.randomUUID(),
    filterData: filter('out', 'data'),
    filterResult: filter('in', 'result'),
    onPanic: (reason) => ended.abort(new Error(reason)),
    onUnknownResult: (site, taskName, result) =>
      void current?.workflow.onLateResult?.(site, taskName, result),
  })
  options.onBoard?.(board)
  const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal
  const loops = sites.map((site) => siteLoop(site, board, trainer, options.beforeSubmit))
  try {
    if (context === undefined) throw new Error('no context was made')
    await runWorkflows(
      app,
      { context, board, onWorkflow: (workflow) => (current = workflow) },
      { signal },
    )
  } finally {
    board.end()
    await Promise.all(loops)
  }
  if (clock.pending > 0) throw new Error(`${clock.pending} timers were left`)
  return { files, events, state, app }
}

async function siteLoop(
  site: string,
  board: TaskBoard,
  trainer: Trainer,
  beforeSubmit: InMemoryRunOptions['beforeSubmit'],
): Promise<void> {
  for (;;) {
    const offer = await board.next(site, { holdMs: 60_000 })
    if (offer.kind === 'end') return
    if (offer.kind === 'nothing-yet') continue
    const task = { id: offer.id, name: offer.name, data: offer.data }
    const result = await trainer(task, site)
    if (result === undefined) return
    result.headers.set(HEADER.cookieJar, new Map([...offer.cookies, ['__task_id__', offer.id]]))
    await beforeSubmit?.(site, task)
    await board.submit(site, offer.id, offer.name, result)
  }
}
