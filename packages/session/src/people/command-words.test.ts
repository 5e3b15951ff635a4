import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinWords, splitWords } from './command-words.ts'

describe('words of a command', () => {
  it.each([
    ['list_jobs -m 5', ['list_jobs', '-m', '5']],
    ['a   b', ['a', 'b']],
    [' a', ['', 'a']],
    ['submit_job "my job"', ['submit_job', 'my job']],
    [`x 'one two' "th\\"ree"`, ['x', 'one two', 'th"ree']],
    ['x ""', ['x', '']],
    [`it's`, [`it's`]],
    ['"unclosed word', ['"unclosed', 'word']],
    ['a\\ b', ['a\\', 'b']],
    ['"a" b\\ c', ['a', 'b c']],
    ['', ['']],
  ])('splits %j as stock does', (text, words) => {
    expect(splitWords(text)).toEqual(words)
  })

  it('gives back what was joined', () => {
    const word = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), (words) => {
        expect(splitWords(joinWords(words))).toEqual(words)
      }),
    )
  })

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(splitWords(text).length).toBeGreaterThan(0)
      }),
    )
  })
})
