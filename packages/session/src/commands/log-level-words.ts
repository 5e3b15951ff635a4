/** Levels of a log, from most to least. */
export type PlaceLogLevel = 'debug' | 'info' | 'warn' | 'error'

const WORDS: ReadonlyMap<string, PlaceLogLevel> = new Map([
  ['debug', 'debug'],
  ['info', 'info'],
  ['warn', 'warn'],
  ['warning', 'warn'],
  ['error', 'error'],
  ['critical', 'error'],
  ['fatal', 'error'],
])

/** A level in stock's words or as one of its numbers, 0 to 50; `undefined` for anything else. */
export function logLevelOf(text: string): PlaceLogLevel | undefined {
  const word = text.trim().toLowerCase()
  if (!/^\d{1,2}$/.test(word)) return WORDS.get(word)
  const number = Number(word)
  if (number > 50) return undefined
  if (number <= 10) return 'debug'
  if (number <= 20) return 'info'
  return number <= 30 ? 'warn' : 'error'
}
