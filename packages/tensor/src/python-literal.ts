/** What `.npy` headers are written in: strings, booleans, counts, tuples, lists and one dict. */
export type PythonLiteral =
  | string
  | boolean
  | number
  | { readonly tuple: readonly PythonLiteral[] }
  | readonly PythonLiteral[]
  | ReadonlyMap<string, PythonLiteral>

const MAX_DEPTH = 32
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

/**
 * Reads the subset of Python literals that NumPy writes. Never evaluates anything.
 * @throws {SyntaxError} with the position, on anything else
 */
export function parsePythonLiteral(text: string): PythonLiteral {
  let at = 0
  const fail = (expected: string): never => {
    throw new SyntaxError(`expected ${expected} at character ${at}`)
  }
  const skip = (): void => {
    while (at < text.length && ' \n\r\t'.includes(text[at]!)) at++
  }
  const take = (token: string): boolean => {
    skip()
    if (!text.startsWith(token, at)) return false
    at += token.length
    return true
  }
  const readString = (quote: string): string => {
    let out = ''
    for (;;) {
      const char = text[at]
      if (char === undefined || char === '\n') return fail('a closing quote')
      at++
      if (char === quote) return out
      if (char !== '\\') {
        out += char
        continue
      }
      const kind = text[at++] ?? ''
      const width = kind === 'x' ? 2 : kind === 'u' ? 4 : kind === 'U' ? 8 : 0
      if (width > 0) {
        const digits = text.slice(at, at + width)
        const code = Number.parseInt(digits, 16)
        if (!/^[0-9a-fA-F]+$/.test(digits) || digits.length !== width || code > 0x10ffff)
          return fail('a character code')
        at += width
        out += String.fromCodePoint(code)
      } else out += ESCAPES.get(kind) ?? fail('a known escape')
    }
  }
  const items = (close: string, depth: number): { list: PythonLiteral[]; comma: boolean } => {
    const list: PythonLiteral[] = []
    let comma = false
    while (!take(close)) {
      if (list.length > 0 && !comma) return fail(`"," or "${close}"`)
      list.push(read(depth + 1))
      comma = take(',')
    }
    return { list, comma }
  }
  const readDict = (depth: number): ReadonlyMap<string, PythonLiteral> => {
    const map = new Map<string, PythonLiteral>()
    let comma = true
    while (!take('}')) {
      if (!comma) return fail('"," or "}"')
      const key = read(depth + 1)
      if (typeof key !== 'string') return fail('a string as key')
      if (map.has(key)) return fail('each key once')
      if (!take(':')) return fail('":"')
      map.set(key, read(depth + 1))
      comma = take(',')
    }
    return map
  }
  const read = (depth: number): PythonLiteral => {
    if (depth > MAX_DEPTH) return fail('less nesting')
    if (take("'")) return readString("'")
    if (take('"')) return readString('"')
    if (take('True')) return true
    if (take('False')) return false
    if (take('{')) return readDict(depth)
    if (take('[')) return items(']', depth).list
    if (take('(')) {
      const { list, comma } = items(')', depth)
      return list.length === 1 && !comma ? list[0]! : { tuple: list }
    }
    const digits = /^\d+/.exec(text.slice(at, at + 24))?.[0]
    if (digits === undefined) return fail('a literal')
    at += digits.length
    // Python 2 wrote long integers as `3L`; NumPy still reads them.
    if (text[at] === 'L') at++
    return Number(digits)
  }
  const value = read(0)
  skip()
  if (at !== text.length) fail('the end')
  return value
}
