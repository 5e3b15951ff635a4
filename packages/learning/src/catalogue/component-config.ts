import type { JsonObject, JsonValue } from '@hanse/contract'
import { z } from 'zod'
import { LearningError } from '../learning-error.ts'
import type { Catalogue, ComponentEntry, ComponentKind } from './catalogue.ts'

/** A component as a job's config describes it (jobs.md §3.5). */
export interface ComponentConfig {
  readonly reference: { readonly path: string } | { readonly name: string }
  readonly id: string | undefined
  readonly disabled: boolean
  readonly args: JsonObject
}

/**
 * Reads a component's config.
 * @param where for messages, e.g. `components[2]`
 * @throws {LearningError} `ERR_APP_CONFIG`
 */
export function readComponentConfig(config: JsonValue | undefined, where: string): ComponentConfig {
  if (!isJsonObject(config)) throw bad(where, 'is no object')
  const reference = readReference(config, where)
  if (reference === undefined) throw bad(where, 'has none of "path", "class_path" and "name"')
  const { id, disabled, args = {} } = config
  if (id !== undefined && (typeof id !== 'string' || id === ''))
    throw bad(where, 'has an id that is no text')
  if (!isJsonObject(args)) throw bad(where, 'has args that are no object')
  const { class_attributes: attributes } = args
  if (attributes !== undefined && !isJsonObject(attributes))
    throw bad(where, 'has class_attributes that are no object')
  return { reference, id, disabled: disabled === true, args: attributes ?? args }
}

/** True for an argument that describes a component to be made and put in its place. */
export function isNestedComponent(value: JsonValue): value is JsonObject {
  if (!isJsonObject(value)) return false
  const { config_type: type } = value
  if (type !== undefined && type !== 'component') return false
  return ['path', 'class_path', 'name'].some((key) => {
    const reference = value[key]
    // An ordinary object may well have a `name`; only what could be a class counts.
    return (
      typeof reference === 'string' &&
      (key === 'name' ? /^[A-Z]\w+$/.test(reference) : reference.includes('.'))
    )
  })
}

/**
 * The catalogue's entry for a reference.
 * @throws {LearningError} `ERR_COMPONENT_UNKNOWN`, `ERR_COMPONENT_AMBIGUOUS`, `ERR_COMPONENT_SIDE`
 */
export function findComponent(
  catalogue: Catalogue,
  { reference }: ComponentConfig,
  side: 'server' | 'client',
  kinds: readonly ComponentKind[] | 'any',
  where: string,
): ComponentEntry {
  const label = 'path' in reference ? reference.path : reference.name
  const found =
    'path' in reference ? catalogue.find(reference.path) : catalogue.findByName(reference.name)
  if (found === 'ambiguous')
    throw new LearningError(
      'ERR_COMPONENT_AMBIGUOUS',
      `${where}: several components are called "${label}"; give the full path`,
      { component: label },
    )
  if (found === undefined)
    throw new LearningError(
      'ERR_COMPONENT_UNKNOWN',
      `${where}: there is no component "${label}" at this ${side === 'server' ? 'server' : 'site'}; use one that is in its catalogue, or ask its admin to install a plug-in that has it`,
      { component: label },
    )
  if (found.side !== 'both' && found.side !== side)
    throw new LearningError(
      'ERR_COMPONENT_SIDE',
      `${where}: component "${label}" works at a ${found.side}, not at a ${side}`,
      { component: label },
    )
  if (kinds !== 'any' && !kinds.includes(found.kind))
    throw new LearningError(
      'ERR_COMPONENT_SIDE',
      `${where}: component "${label}" is a ${found.kind}, not a ${kinds.join(' or ')}`,
      { component: label },
    )
  return found
}

/**
 * A component's arguments as its entry wants them.
 * @throws {LearningError} `ERR_COMPONENT_ARGS`
 */
export function parseArgs(entry: ComponentEntry, args: unknown, where: string): unknown {
  const parsed = entry.args.safeParse(args)
  if (parsed.success) return parsed.data
  throw new LearningError(
    'ERR_COMPONENT_ARGS',
    `${where}: the arguments of "${entry.path}" are wrong: ${z.prettifyError(parsed.error)}`,
    { component: entry.path },
    { cause: parsed.error },
  )
}

/** True for a JSON object. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readReference(
  config: JsonObject,
  where: string,
): ComponentConfig['reference'] | undefined {
  // Presence decides, not truth: an empty `path` beside a `name` is an error, as in stock.
  for (const key of ['path', 'class_path'] as const) {
    if (!Object.hasOwn(config, key)) continue
    const path = config[key]
    if (typeof path !== 'string' || !path.includes('.'))
      throw bad(where, `has a ${key} that is no dotted path`)
    return { path }
  }
  if (!Object.hasOwn(config, 'name')) return undefined
  const { name } = config
  if (typeof name !== 'string' || name === '') throw bad(where, 'has a name that is no text')
  return { name }
}

function bad(where: string, what: string): LearningError {
  return new LearningError('ERR_APP_CONFIG', `${where} ${what}`)
}
