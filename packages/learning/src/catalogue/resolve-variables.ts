import type { JsonObject, JsonValue } from '@hanse/contract'
import { LearningError } from '../learning-error.ts'

export interface VariableSources {
  /** `JOB_ID`, `SITE_NAME` and the like (jobs.md §3.6); they win over the file's own keys. */
  readonly system: ReadonlyMap<string, JsonValue>
  /** What `{$NAME}` may read. Absent: nothing; never hand in a process's whole environment. */
  readonly environment?: ReadonlyMap<string, string>
}

const MAX_ROUNDS = 20
/** A few definitions that name each other twice can grow without end: stop long before memory does. */
const MAX_VALUES = 200_000
const MAX_TEXT = 1024 * 1024

/**
 * Replaces `{name}`, `{$NAME}` and `{@name:k=v}` in every text of an app's config, again and again until
 * nothing changes (jobs.md §3.6). Keys that begin with `@` are definitions and are not in the result.
 * `${secret:…}` is left as it is. Pure; the config is not changed.
 * @throws {LearningError} `ERR_VARIABLES` for definitions that go in circles or grow without end
 */
export function resolveVariables(config: JsonObject, sources: VariableSources): JsonObject {
  const variables = new Map<string, JsonValue>()
  const definitions = new Map<string, JsonValue>()
  const plain: [string, JsonValue][] = []
  for (const [key, value] of Object.entries(config))
    if (key.startsWith('@')) definitions.set(key, value)
    else {
      plain.push([key, value])
      variables.set(key, value)
    }
  for (const [key, value] of sources.system) variables.set(key, value)
  const environment = sources.environment ?? new Map<string, string>()
  let current: JsonValue = Object.fromEntries(plain)
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const pass = new Pass(variables, definitions, environment)
    const next = pass.resolve(current)
    // Only texts can change, and only an object becomes an object.
    if (!pass.changed) return current as JsonObject
    current = next
  }
  throw new LearningError(
    'ERR_VARIABLES',
    `variables still change after ${MAX_ROUNDS} rounds: some of them refer to each other in a circle`,
  )
}

/** One walk over the config. */
class Pass {
  changed = false
  #values = 0
  #text = 0
  readonly #variables: ReadonlyMap<string, JsonValue>
  readonly #definitions: ReadonlyMap<string, JsonValue>
  readonly #environment: ReadonlyMap<string, string>

  constructor(
    variables: ReadonlyMap<string, JsonValue>,
    definitions: ReadonlyMap<string, JsonValue>,
    environment: ReadonlyMap<string, string>,
  ) {
    this.#variables = variables
    this.#definitions = definitions
    this.#environment = environment
  }

  resolve(value: JsonValue): JsonValue {
    this.#count(value)
    if (typeof value === 'string') {
      const replaced = this.#fill(value, this.#variables)
      if (replaced !== value) {
        this.changed = true
        if (typeof replaced === 'object') this.#measure(replaced)
      }
      return replaced
    }
    if (Array.isArray(value)) return value.map((item: JsonValue) => this.resolve(item))
    if (isObject(value))
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, this.resolve(item)]),
      )
    return value
  }

  #fill(text: string, variables: ReadonlyMap<string, JsonValue>): JsonValue {
    if (!text.includes('{')) return text
    const whole = /^\{([^{}]*)\}$/.exec(text)?.[1]
    if (whole === undefined) return this.#format(text, variables) ?? text
    if (whole.startsWith('@')) return this.#instantiate(whole)
    return this.#lookup(whole, variables) ?? null
  }

  #lookup(name: string, variables: ReadonlyMap<string, JsonValue>): JsonValue | undefined {
    const own = variables.get(name)
    if (own !== undefined) return own
    return name.startsWith('$') ? this.#environment.get(name.slice(1)) : undefined
  }

  /** A definition with the values given for its own variables. */
  #instantiate(reference: string): JsonValue {
    const [name = '', ...assignments] = reference.split(':')
    const definition = this.#definitions.get(name)
    if (!isObject(definition))
      throw new LearningError(
        'ERR_VARIABLES',
        `"{${reference.slice(0, 80)}}" names no definition object`,
      )
    const local = new Map(this.#variables)
    for (const assignment of assignments) {
      const equals = assignment.indexOf('=')
      if (equals < 1)
        throw new LearningError('ERR_VARIABLES', `"${assignment.slice(0, 80)}" is not name=value`)
      local.set(assignment.slice(0, equals), literal(assignment.slice(equals + 1)))
    }
    const fill = (value: JsonValue): JsonValue => {
      this.#count(value)
      if (typeof value === 'string') return this.#fill(value, local)
      if (Array.isArray(value)) return value.map(fill)
      if (isObject(value))
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item)]))
      return value
    }
    return fill(definition)
  }

  /** As Python's `str.format` with names only; `undefined` when it would fail, and then the text stays. */
  #format(text: string, variables: ReadonlyMap<string, JsonValue>): string | undefined {
    let out = ''
    for (let at = 0; at < text.length; at++) {
      const char = text[at]!
      if (char === '}') {
        if (text[at + 1] !== '}') return undefined
        at++
        out += '}'
      } else if (char !== '{') out += char
      else if (text[at + 1] === '{') {
        at++
        out += '{'
      } else {
        const close = text.indexOf('}', at)
        const value = close < 0 ? undefined : this.#lookup(text.slice(at + 1, close), variables)
        if (value === undefined) return undefined
        out += pythonText(value)
        at = close
      }
      if (out.length > MAX_TEXT) throw tooLarge()
    }
    return out
  }

  #count(value: JsonValue): void {
    this.#values++
    if (typeof value === 'string') this.#text += value.length
    if (this.#values > MAX_VALUES || this.#text > MAX_TEXT) throw tooLarge()
  }

  /** What was inserted counts now, so that it cannot double in every round unnoticed. */
  #measure(value: JsonValue): void {
    this.#count(value)
    if (Array.isArray(value)) for (const item of value) this.#measure(item)
    else if (isObject(value)) for (const item of Object.values(value)) this.#measure(item)
  }
}

function tooLarge(): LearningError {
  return new LearningError(
    'ERR_VARIABLES',
    `the config with its variables filled in has more than ${MAX_VALUES} values or ${MAX_TEXT} characters`,
  )
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `int`, else `float`, else a boolean, else text. */
function literal(text: string): JsonValue {
  if (/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text)
  if (/^true$/i.test(text)) return true
  if (/^false$/i.test(text)) return false
  return text
}

/** What Python prints for a value inside a text. */
function pythonText(value: JsonValue, quoted = false): string {
  if (value === null) return 'None'
  if (value === true) return 'True'
  if (value === false) return 'False'
  if (typeof value === 'string') return quoted ? `'${value.replace(/[\\']/g, '\\$&')}'` : value
  if (Array.isArray(value))
    return `[${value.map((item: JsonValue) => pythonText(item, true)).join(', ')}]`
  if (typeof value === 'object')
    return `{${Object.entries(value)
      .map(([key, item]) => `${pythonText(key, true)}: ${pythonText(item, true)}`)
      .join(', ')}}`
  return String(value)
}
