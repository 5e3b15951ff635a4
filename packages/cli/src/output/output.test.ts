import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TextStream } from '../cli-host.ts'
import { plainLine, plainText } from './plain-text.ts'
import { ProgressDisplay } from './progress-display.ts'
import { textTable } from './text-table.ts'

function isObeyed(character: string): boolean {
  const code = character.codePointAt(0)!
  if (character === '\n' || character === '\t') return false
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e)
}

describe('plain text', () => {
  it('has nothing in it that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const obeyed = [...plainText(text)].filter((character) => isObeyed(character))
        expect(obeyed).toEqual([])
        expect(plainLine(text)).not.toContain('\n')
      }),
    )
  })

  it('leaves ordinary text alone', () => {
    expect(plainText('größe: 5 µm\n\tend')).toBe('größe: 5 µm\n\tend')
  })
})

it('aligns columns, numbers to the right', () => {
  const table = textTable(
    ['name', 'jobs'],
    [
      ['a', '10'],
      ['longer', '2'],
    ],
  )
  expect(table).toBe('name    jobs\na         10\nlonger     2')
  expect(textTable(['x'], [])).toBe('x')
})

describe('progress', () => {
  const observation = (round: number, contributed: number) => ({
    job: 'j',
    status: 'RUNNING',
    progress: {
      round,
      totalRounds: 4,
      sites: ['a', 'b'].map((name, index) => ({
        name,
        state: index < contributed ? 'contributed' : 'working',
      })),
      metrics: { accuracy: 0.75 },
    },
  })

  function shownOn(isTerminal: boolean, columns = 80): string {
    const parts: string[] = []
    const write = (part: string) => void parts.push(part)
    const stream: TextStream = { write, isTerminal, columns }
    const display = new ProgressDisplay(stream)
    for (const contributed of [0, 1, 2]) display.show(observation(2, contributed))
    display.show(observation(3, 0))
    display.end()
    return parts.join('')
  }

  it('is one line a round in a file', () => {
    expect(shownOn(false)).toBe('round 2 of 4 · accuracy 0.75\nround 3 of 4 · accuracy 0.75\n')
  })

  it('is a bar drawn anew on a terminal, and gone in the end', () => {
    const frames = shownOn(true).split('\r\u001b[2K').slice(1)
    expect(frames).toEqual([
      `[${'█'.repeat(6)}${'░'.repeat(18)}] round 2 of 4 · 0 of 2 sites · accuracy 0.75`,
      `[${'█'.repeat(9)}${'░'.repeat(15)}] round 2 of 4 · 1 of 2 sites · accuracy 0.75`,
      `[${'█'.repeat(12)}${'░'.repeat(12)}] round 2 of 4 · 2 of 2 sites · accuracy 0.75`,
      `[${'█'.repeat(12)}${'░'.repeat(12)}] round 3 of 4 · 0 of 2 sites · accuracy 0.75`,
      '',
    ])
  })

  it('never breaks a line of the terminal', () => {
    for (const frame of shownOn(true, 40).split('\r\u001b[2K'))
      expect(frame.length).toBeLessThan(40)
  })
})
