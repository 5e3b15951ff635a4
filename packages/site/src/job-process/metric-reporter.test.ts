import type { Cell } from '@hanse/cellnet'
import { silentLogger } from '@hanse/contract'
import { type Filter, PlaceFilterChain, readDxo } from '@hanse/learning'
import type { Shareable } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { MetricReporter } from './metric-reporter.ts'

function setUp(maxWaiting?: number) {
  const clock = fakeClock()
  const sent: Shareable[] = []
  const pending: PromiseWithResolvers<string>[] = []
  let holds = false
  const cell = {
    notify(target: string, _channel: string, topic: string, body: Shareable) {
      expect([target, topic]).toEqual(['server.j1', 'fed.event'])
      sent.push(body)
      const done = Promise.withResolvers<string>()
      pending.push(done)
      if (!holds) done.resolve('ok')
      return done.promise
    },
  } as unknown as Cell
  const reporter = new MetricReporter(
    { cell, clock, logger: silentLogger },
    {
      serverCell: 'server.j1',
      site: 'site-1',
      ownProperties: new Map(),
      ...(maxWaiting === undefined ? {} : { maxWaiting }),
    },
  )
  const data = (event: Shareable) =>
    (event.content.get('DXO') as Map<string, unknown>).get('data') as Map<string, unknown>
  return {
    clock,
    sent,
    pending,
    reporter,
    data,
    hold: () => {
      holds = true
    },
  }
}

describe('the reporter of metrics', () => {
  it("sends numbers in order as stock's events, each with an id of its own", async () => {
    const { reporter, sent, data, clock } = setUp()
    reporter.report({ key: 'loss', value: 0.5, step: 3 })
    reporter.report({ key: 'loss', value: 0.25 })
    await reporter.drained()
    expect(sent.map((event) => [...data(event)])).toEqual([
      [
        ['track_key', 'loss'],
        ['track_value', 0.5],
        ['global_step', 3],
      ],
      [
        ['track_key', 'loss'],
        ['track_value', 0.25],
      ],
    ])
    expect(sent[0]!.headers.get('_event_type')).toBe('fed.analytix_log_stats')
    expect(new Set(sent.map(({ headers }) => headers.get('_event_id'))).size).toBe(2)
    expect(clock.pending).toBe(0)
  })

  it('lets a few numbers of each task out where filters of the site bind them', async () => {
    const { reporter, sent } = setUp()
    reporter.obey(new PlaceFilterChain([{ name: 'f', filter: { process: (one) => one } }]))
    for (const task of ['train', 'validate']) {
      reporter.beginTask(task)
      for (let i = 0; i < 150; i++) reporter.report({ key: 'k', value: i })
    }
    await reporter.drained()
    expect(sent).toHaveLength(200)
  })

  it('lets none out that a filter of the site refuses, and goes on', async () => {
    const { reporter, sent, data } = setUp()
    const seen: string[] = []
    const filter: Filter = {
      process(event, { taskName }) {
        const { kind } = readDxo(event)
        seen.push(`${kind} ${taskName}`)
        if (seen.length === 1) throw new Error('no')
        return event
      },
    }
    reporter.obey(new PlaceFilterChain([{ name: 'f', filter }]))
    reporter.beginTask('train')
    reporter.report({ key: 'a', value: 1 })
    reporter.report({ key: 'b', value: 2 })
    await reporter.drained()
    expect(seen).toEqual(['ANALYTIC train', 'ANALYTIC train'])
    expect(sent.map((event) => data(event).get('track_key'))).toEqual(['b'])
  })

  it('drops the newest when too many wait', async () => {
    const { reporter, sent, hold, pending, data } = setUp(2)
    hold()
    for (let i = 0; i < 5; i++) reporter.report({ key: 'k', value: i })
    await Promise.resolve()
    pending[0]!.resolve('ok')
    await new Promise((resolve) => setImmediate(resolve))
    pending[1]!.resolve('ok')
    await reporter.drained()
    expect(sent.map((event) => data(event).get('track_value'))).toEqual([0, 1])
  })

  it('holds a result up no longer than two seconds', async () => {
    const { reporter, hold, clock } = setUp()
    hold()
    reporter.report({ key: 'k', value: 1 })
    let drained = false
    const waiting = reporter.drained().then(() => {
      drained = true
    })
    clock.advance(1_999)
    await new Promise((resolve) => setImmediate(resolve))
    expect(drained).toBe(false)
    clock.advance(1)
    await waiting
  })

  it('goes on after one that could not be sent', async () => {
    const { reporter, sent, hold, pending } = setUp()
    hold()
    reporter.report({ key: 'k', value: 1 })
    reporter.report({ key: 'k', value: 2 })
    await Promise.resolve()
    pending[0]!.reject(new Error('the link is gone'))
    await new Promise((resolve) => setImmediate(resolve))
    pending[1]!.resolve('ok')
    await reporter.drained()
    expect(sent).toHaveLength(2)
  })
})
