import type { JsonValue } from '@hanse/contract'
import { JobsError } from './jobs-error.ts'
import { isJsonObject } from './json-object.ts'

type Mutable = { [key: string]: JsonValue }

/** Nesting of objects and lists. */
const MAX_DEPTH = 64

/**
 * Reads HOCON as job configs use it: comments, keys with and without quotes, dotted keys, `=`, `:` or nothing
 * before `{`, line ends as commas, texts without quotes, `"""` texts, objects merged. What could mean something
 * else elsewhere (`include`, `${…}`, `+=`, value concatenation of objects and lists) is refused, not guessed.
 * @throws {JobsError} `ERR_CONFIG_FORMAT` with the line
 */
export function parseHocon(text: string): JsonValue {
  return new HoconParser(text).parse()
}

class HoconParser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text.startsWith('\ufeff') ? text.slice(1) : text
  }

  parse(): JsonValue {
    this.#skip(true)
    const first = this.#peek()
    const value =
      first === '{' ? this.#object(0) : first === '[' ? this.#list(0) : this.#members(undefined, 0)
    this.#skip(true)
    if (this.#at < this.#text.length) throw this.#error('something follows the end of the config')
    return value
  }

  #object(depth: number): Mutable {
    this.#at++
    const value = this.#members('}', depth)
    if (this.#peek() !== '}') throw this.#error('a "}" is missing')
    this.#at++
    return value
  }

  #members(end: string | undefined, depth: number): Mutable {
    if (depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} levels`)
    const object: Mutable = Object.create(null)
    for (;;) {
      this.#skip(true)
      const next = this.#peek()
      if (next === '' || next === end) return { ...object }
      const path = this.#keyPath()
      this.#skip(false)
      const separator = this.#peek()
      if (separator === '+' && this.#text[this.#at + 1] === '=')
        throw this.#error('"+=" is not understood; write the list out')
      if (separator === '=' || separator === ':') this.#at++
      else if (separator !== '{') throw this.#error('"=" or ":" is missing after the key')
      this.#skip(true)
      this.#assign(object, path, this.#value(depth + 1))
      this.#separator(end)
    }
  }

  #list(depth: number): JsonValue[] {
    if (depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} levels`)
    this.#at++
    const list: JsonValue[] = []
    for (;;) {
      this.#skip(true)
      if (this.#peek() === ']') {
        this.#at++
        return list
      }
      if (this.#peek() === '') throw this.#error('a "]" is missing')
      list.push(this.#value(depth + 1))
      this.#separator(']')
    }
  }

  /** After a value: a comma, a line end, or the end of what it is in. */
  #separator(end: string | undefined): void {
    this.#skip(false)
    const next = this.#peek()
    if (next === ',' || next === '\n') {
      this.#skip(true)
      if (this.#peek() === ',') this.#at++
      return
    }
    if (next !== '' && next !== end) throw this.#error('a comma or a line end is missing')
  }

  #value(depth: number): JsonValue {
    const next = this.#peek()
    const value = next === '{' ? this.#object(depth) : next === '[' ? this.#list(depth) : undefined
    if (value === undefined) return this.#scalar()
    this.#skip(false)
    if (!this.#atValueEnd())
      throw this.#error('joining values is not understood; write the value out')
    return value
  }

  /** A text in quotes, or everything up to the end of the value. */
  #scalar(): JsonValue {
    if (this.#peek() === '"') {
      const text = this.#quoted()
      this.#skip(false)
      if (!this.#atValueEnd()) throw this.#error('something follows the text in quotes')
      return text
    }
    const start = this.#at
    while (!this.#atValueEnd() && !this.#atComment()) {
      const next = this.#peek()
      if (next === '$' && this.#text[this.#at + 1] === '{')
        throw this.#error('a substitution with "$" is not understood; write the value out')
      if ('{["'.includes(next))
        throw this.#error('joining values is not understood; write the value out')
      this.#at++
    }
    const text = this.#text.slice(start, this.#at).trim()
    if (text === '') throw this.#error('a value is missing')
    return typed(text)
  }

  #atValueEnd(): boolean {
    const next = this.#peek()
    return next === '' || ',\n}]'.includes(next)
  }

  #quoted(): string {
    if (this.#text.startsWith('"""', this.#at)) {
      const close = this.#text.indexOf('"""', this.#at + 3)
      if (close === -1) throw this.#error('a \'"""\' is missing')
      let end = close
      while (this.#text[end + 3] === '"') end++
      const text = this.#text.slice(this.#at + 3, end)
      this.#at = end + 3
      return text
    }
    const start = this.#at
    for (let at = start + 1; at < this.#text.length && this.#text[at] !== '\n'; at++) {
      if (this.#text[at] === '\\') at++
      else if (this.#text[at] === '"') {
        this.#at = at + 1
        try {
          return String(JSON.parse(this.#text.slice(start, at + 1)))
        } catch {
          throw this.#error('the text in quotes has an escape that JSON does not know')
        }
      }
    }
    throw this.#error('a closing quote is missing')
  }

  #keyPath(): readonly string[] {
    const path: string[] = []
    for (;;) {
      if (this.#peek() === '"') path.push(this.#quoted())
      else {
        const start = this.#at
        while (!/[\s"{}[\]:=,+#`^?!@*&\\$.]|^$/.test(this.#peek())) this.#at++
        const word = this.#text.slice(start, this.#at)
        if (word === '') throw this.#error('a key is missing, or has a character that needs quotes')
        if (word === 'include' && /^[ \t]+["a-z]/.test(this.#text.slice(this.#at, this.#at + 20)))
          throw this.#error('"include" is not understood; put everything into one file')
        path.push(word)
      }
      if (this.#peek() !== '.') return path
      this.#at++
    }
  }

  #assign(object: Mutable, path: readonly string[], value: JsonValue): void {
    const [key = '', ...rest] = path
    if (key === '__proto__') throw this.#error('the key "__proto__" is not allowed')
    const existing = object[key]
    const added = rest.reduceRight<JsonValue>((inner, step) => {
      if (step === '__proto__') throw this.#error('the key "__proto__" is not allowed')
      return { [step]: inner }
    }, value)
    object[key] = merged(existing, added)
  }

  /** Blanks and comments; line ends too if `lines`. */
  #skip(lines: boolean): void {
    for (;;) {
      const next = this.#peek()
      if (next !== '' && (lines ? /\s/ : /[^\S\n]/).test(next)) this.#at++
      else if (this.#atComment())
        while (this.#at < this.#text.length && this.#peek() !== '\n') this.#at++
      else return
    }
  }

  #atComment(): boolean {
    return this.#peek() === '#' || this.#text.startsWith('//', this.#at)
  }

  #peek(): string {
    return this.#text[this.#at] ?? ''
  }

  #error(what: string): JobsError {
    const line = this.#text.slice(0, this.#at).split('\n').length
    return new JobsError('ERR_CONFIG_FORMAT', `line ${line}: ${what}`, { line })
  }
}

function merged(earlier: JsonValue | undefined, later: JsonValue): JsonValue {
  if (!isJsonObject(earlier) || !isJsonObject(later)) return later
  const result: Mutable = { ...earlier }
  for (const [key, value] of Object.entries(later)) result[key] = merged(result[key], value)
  return result
}

function typed(text: string): JsonValue {
  if (text === 'true') return true
  if (text === 'false') return false
  if (text === 'null') return null
  return /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text) ? Number(text) : text
}
