import { expect, it } from 'vitest'
import { logLevelOf } from './log-level-words.ts'

it.each([
  ['DEBUG', 'debug'],
  [' info ', 'info'],
  ['WARNING', 'warn'],
  ['CRITICAL', 'error'],
  ['0', 'debug'],
  ['20', 'info'],
  ['30', 'warn'],
  ['50', 'error'],
])('reads %j as %s', (text, level) => expect(logLevelOf(text)).toBe(level))

it.each(['concise', 'full', '51', '-1', '', '__proto__', '10.5'])('does not take %j', (text) =>
  expect(logLevelOf(text)).toBeUndefined(),
)
