import type { RunEvent, RunFiles } from '@hanse/learning'
import { describe, expect, it } from 'vitest'
import { RoundJournal, type RunProgress } from './round-journal.ts'

function setUp() {
  const lines: unknown[] = []
  const progress: RunProgress[] = []
  const files = {
    append: async (path: string, bytes: Uint8Array) => {
      expect(path).toBe('rounds.jsonl')
      lines.push(JSON.parse(new TextDecoder().decode(bytes)))
    },
  } as RunFiles
  const journal = new RoundJournal(files, (told) => progress.push(structuredClone(told)))
  const tell = async (...events: RunEvent[]) => {
    for (const event of events) await journal.onEvent(event)
  }
  return { lines, progress, tell }
}

const started = (round: number): RunEvent => ({
  type: 'round-started',
  round,
  startRound: 0,
  totalRounds: 2,
  sites: ['a', 'b'],
})
const contribution = (site: string, round: number, accepted = true): RunEvent => ({
  type: 'contribution',
  report: {
    site,
    round,
    accepted,
    ...(accepted ? { weight: 3, metrics: new Map([['accuracy', 0.5]]) } : { reason: 'too late' }),
  },
})
const aggregated = (round: number): RunEvent => ({
  type: 'after-aggregation',
  round,
  accepted: ['a'],
  metrics: new Map([['accuracy', 0.5]]),
  weighting: 'steps',
})
const finished = (round: number): RunEvent => ({ type: 'round-finished', round, totalRounds: 2 })

describe('round journal', () => {
  it('writes one line a round, contributions in the order of the sites', async () => {
    const { lines, tell } = setUp()
    await tell(
      started(0),
      contribution('b', 0, false),
      contribution('a', 0),
      aggregated(0),
      finished(0),
      started(1),
      contribution('a', 1),
      finished(1),
    )
    expect(lines).toEqual([
      {
        round: 0,
        contributions: [
          { site: 'a', round: 0, accepted: true, weight: 3, metrics: { accuracy: 0.5 } },
          { site: 'b', round: 0, accepted: false, reason: 'too late', metrics: {} },
        ],
        metrics: { accuracy: 0.5 },
      },
      {
        round: 1,
        contributions: [
          { site: 'a', round: 1, accepted: true, weight: 3, metrics: { accuracy: 0.5 } },
        ],
        // Nothing of the round before.
        metrics: {},
      },
    ])
  })

  it('tells where each site stands, and the metrics of the last complete round', async () => {
    const { progress, tell } = setUp()
    await tell(
      started(0),
      contribution('a', 0),
      contribution('b', 0, false),
      contribution('stranger', 0),
      aggregated(0),
      finished(0),
      started(1),
    )
    expect(progress.map(({ round, sites }) => [round, ...sites.map(({ state }) => state)])).toEqual(
      [
        [1, 'working', 'working'],
        [1, 'contributed', 'working'],
        [1, 'contributed', 'refused'],
        [1, 'contributed', 'refused'],
        [1, 'contributed', 'refused'],
        [2, 'working', 'working'],
      ],
    )
    expect(progress.at(-1)?.metrics).toEqual({ accuracy: 0.5 })
  })
})
