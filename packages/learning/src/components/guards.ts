import type {
  Aggregator,
  Assembler,
  Executor,
  Filter,
  Formatter,
  ModelAggregator,
  ModelLocator,
  Persistor,
  ShareableGenerator,
  StatisticsWriter,
  Workflow,
} from './contracts.ts'

function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'function')
  )
}

/** True for a component with a workflow's methods. */
export function isWorkflow(component: unknown): component is Workflow {
  return hasMethods(component, 'run')
}

/** True for a component with an aggregator's methods. */
export function isAggregator(component: unknown): component is Aggregator {
  return hasMethods(component, 'accept', 'aggregate', 'reset')
}

/** True for a component with a model aggregator's methods. */
export function isModelAggregator(component: unknown): component is ModelAggregator {
  return hasMethods(component, 'acceptModel', 'aggregateModel', 'reset')
}

/** True for a component with an assembler's methods. */
export function isAssembler(component: unknown): component is Assembler {
  return hasMethods(component, 'read', 'assemble')
}

/** True for a component with a persistor's methods. */
export function isPersistor(component: unknown): component is Persistor {
  return hasMethods(component, 'load', 'save')
}

/** True for a component with a generator's methods. */
export function isShareableGenerator(component: unknown): component is ShareableGenerator {
  return hasMethods(component, 'toShareable', 'toLearnable')
}

/** True for a component with a model locator's methods. */
export function isModelLocator(component: unknown): component is ModelLocator {
  return hasMethods(component, 'names', 'locate')
}

/** True for a component with a formatter's method. */
export function isFormatter(component: unknown): component is Formatter {
  return hasMethods(component, 'format')
}

/** True for a component with a statistics writer's method. */
export function isStatisticsWriter(component: unknown): component is StatisticsWriter {
  return hasMethods(component, 'saveStatistics')
}

/** True for a component with a filter's method. */
export function isFilter(component: unknown): component is Filter {
  return hasMethods(component, 'process')
}

/** True for a component with an executor's method. */
export function isExecutor(component: unknown): component is Executor {
  return hasMethods(component, 'execute')
}
