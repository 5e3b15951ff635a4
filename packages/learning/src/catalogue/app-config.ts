import type { JsonObject, JsonValue } from '@hanse/contract'
import { LearningError } from '../learning-error.ts'
import { isJsonObject } from './component-config.ts'

/** Where a component stands in an app's config, in the order of the document. */
export interface ConfigElement {
  readonly section:
    | 'workflows'
    | 'components'
    | 'executors'
    | 'task_data_filters'
    | 'task_result_filters'
  /** For messages, e.g. `executors[0]`. */
  readonly where: string
  readonly config: JsonObject
}

const SECTIONS: readonly ConfigElement['section'][] = [
  'workflows',
  'components',
  'executors',
  'task_data_filters',
  'task_result_filters',
]
/** Elements per section: an app of a few dozen is large. */
const MAX_ELEMENTS = 1000

/**
 * The elements of an app's config in the order of the document, after its variables were filled in.
 * @throws {LearningError} `ERR_APP_CONFIG`
 */
export function readAppConfig(config: JsonObject, side: 'server' | 'client'): ConfigElement[] {
  const { format_version: version } = config
  if (version !== 2)
    throw new LearningError('ERR_APP_CONFIG', 'format_version must be the number 2')
  const needed = side === 'server' ? 'workflows' : 'executors'
  const list = config[needed]
  if (!Array.isArray(list) || list.length === 0)
    throw new LearningError('ERR_APP_CONFIG', `the app needs at least one entry in "${needed}"`)
  return Object.entries(config).flatMap(([key, value]) => {
    const section = SECTIONS.find((name) => name === key)
    if (section === undefined || section === (side === 'server' ? 'executors' : 'workflows'))
      return []
    if (!Array.isArray(value) || value.length > MAX_ELEMENTS)
      throw new LearningError(
        'ERR_APP_CONFIG',
        `"${key}" must be a list of at most ${MAX_ELEMENTS} entries`,
      )
    return value.map((element: JsonValue, index): ConfigElement => {
      const where = `${key}[${index}]`
      if (!isJsonObject(element)) throw new LearningError('ERR_APP_CONFIG', `${where} is no object`)
      return { section, where, config: element }
    })
  })
}

/**
 * The task names of an executor or a filter chain.
 * @throws {LearningError} `ERR_APP_CONFIG`
 */
export function readTasks({ config: { tasks }, where }: ConfigElement): string[] {
  if (!Array.isArray(tasks) || tasks.length === 0)
    throw new LearningError('ERR_APP_CONFIG', `${where} needs a list "tasks" that is not empty`)
  return tasks.map((task: JsonValue) => {
    if (typeof task !== 'string' || task === '')
      throw new LearningError('ERR_APP_CONFIG', `${where} has a task that is no text`)
    return task
  })
}

/**
 * The direction of a filter chain, or the usual one.
 * @throws {LearningError} `ERR_APP_CONFIG`
 */
export function readDirection(
  { config: { direction }, where, section }: ConfigElement,
  side: 'server' | 'client',
): 'in' | 'out' | 'inout' {
  if (direction === 'in' || direction === 'out' || direction === 'inout') return direction
  if (direction !== undefined && direction !== null)
    throw new LearningError('ERR_APP_CONFIG', `${where}: direction must be "in", "out" or "inout"`)
  const isData = section === 'task_data_filters'
  return isData === (side === 'server') ? 'out' : 'in'
}
