const INSPECT = Symbol.for('nodejs.util.inspect.custom')

/** Makes `value` print and serialise as `text` instead of its fields, which stay readable for code. */
export function printAs<T extends object>(value: T, text: string): T {
  const print = { value: () => text, enumerable: false }
  return Object.defineProperties(value, { [INSPECT]: print, toJSON: print, toString: print })
}
