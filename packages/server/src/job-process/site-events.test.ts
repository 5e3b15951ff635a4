import type { Cell } from '@hanse/cellnet'
import { type LogFields, silentLogger } from '@hanse/contract'
import { coreCodecs, createFobsRegistry, type FobsValue } from '@hanse/fobs'
import type { RunEvent } from '@hanse/learning'
import { dataKindEnum, notifyAux, platformCodecs, Shareable } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { LinkedCells } from '../../../session/test/linked-cells.ts'
import { MetricJournal } from './metric-journal.ts'
import { SiteEvents, type SiteEventsOptions } from './site-events.ts'

const OWN = new Map([['__identity_name__', 'league']])

let cells: LinkedCells
beforeEach(async () => {
  cells = await LinkedCells.open(createFobsRegistry(coreCodecs, platformCodecs))
})
afterEach(() => cells[Symbol.asyncDispose]())

function eventOf(id: string | undefined, more: Record<string, FobsValue> = {}): Shareable {
  const event = new Shareable(
    new Map<string, FobsValue>([
      ['_event_type', 'fed.analytix_log_stats'],
      ['__content_type__', 'DXO'],
    ]),
    new Map<string, FobsValue>([
      [
        'DXO',
        new Map<string, FobsValue>([
          ['kind', dataKindEnum.member('ANALYTIC')],
          [
            'data',
            new Map<string, FobsValue>([
              ['track_key', 'loss'],
              ['track_value', 0.5],
              ['global_step', 3],
              ...Object.entries(more),
            ]),
          ],
        ]),
      ],
    ]),
  )
  if (id !== undefined) event.headers.set('_event_id', id)
  return event
}

function setUp(options: Partial<SiteEventsOptions> = {}) {
  const fired: Extract<RunEvent, { type: 'site-event' }>[] = []
  const signs: string[] = []
  const warnings: LogFields[] = []
  let gate: Promise<void> = Promise.resolve()
  const events = new SiteEvents(
    {
      cell: cells.server,
      logger: { ...silentLogger, warn: (_text, fields = {}) => warnings.push(fields) },
      async fire(event) {
        await gate
        if (event.type === 'site-event') fired.push(event)
      },
      onSign: (site) => signs.push(site),
    },
    {
      jobId: 'j1',
      participants: new Map([
        ['site-1', 'site-1'],
        ['site-2', 'site-2'],
      ]),
      ownProperties: OWN,
      ...options,
    },
  )
  const send = async (cell: Cell, event: Shareable) => {
    await notifyAux(cell, 'server', 'fed.event', event, new Map([['__identity_name__', 'x']]))
  }
  return {
    events,
    fired,
    signs,
    warnings,
    send,
    hold: (promise: Promise<void>) => {
      gate = promise
    },
  }
}

describe('events of sites', () => {
  it('come to the components of the run, with the site that its cell says', async () => {
    const { events, fired, signs, send } = setUp()
    const site = await cells.linked('site-1.j1')
    const event = eventOf('e1')
    event.headers.set('_origin', 'site-2')
    await send(site, event)
    await expect.poll(() => signs).toEqual(['site-1'])
    await events.settled()
    expect(fired).toMatchObject([
      { name: 'fed.analytix_log_stats', site: 'site-1', dxo: { kind: 'ANALYTIC' } },
    ])
  })

  it('of strangers are dropped', async () => {
    const { fired, signs, send, warnings } = setUp()
    for (const name of ['site-3.j1', 'site-1', 'site-1.j2'])
      await send(await cells.linked(name), eventOf('e1'))
    await expect.poll(() => warnings).toHaveLength(3)
    expect([fired, signs]).toEqual([[], []])
  })

  it('count once, each site on its own; those without an id count as they come', async () => {
    const { events, fired, signs, send } = setUp()
    const one = await cells.linked('site-1.j1')
    const two = await cells.linked('site-2.j1')
    for (const event of [eventOf('e1'), eventOf('e1'), eventOf(undefined), eventOf(undefined)])
      await send(one, event)
    await send(two, eventOf('e1'))
    await expect.poll(() => signs).toHaveLength(5)
    await events.settled()
    expect(fired.filter(({ site }) => site === 'site-1')).toHaveLength(3)
    expect(fired.filter(({ site }) => site === 'site-2')).toHaveLength(1)
  })

  it('remember only so many ids', async () => {
    const { events, fired, signs, send } = setUp({ maxRemembered: 2 })
    const site = await cells.linked('site-1.j1')
    for (const id of ['a', 'b', 'c', 'a', 'c']) await send(site, eventOf(id))
    await expect.poll(() => signs).toHaveLength(5)
    await events.settled()
    expect(fired).toHaveLength(4)
  })

  it('are dropped when too many wait, and that is said', async () => {
    const { events, fired, signs, send, warnings, hold } = setUp({ maxWaiting: 2 })
    const gate = Promise.withResolvers<void>()
    hold(gate.promise)
    const site = await cells.linked('site-1.j1')
    for (let i = 0; i < 5; i++) await send(site, eventOf(`e${i}`))
    await expect.poll(() => signs).toHaveLength(5)
    gate.resolve()
    await events.settled()
    expect(fired).toHaveLength(2)
    expect(warnings).toEqual([{ dropped: 3 }])
  })

  it('need a name, and come without a DXO when theirs is broken', async () => {
    const { events, fired, signs, send } = setUp()
    const site = await cells.linked('site-1.j1')
    const broken = eventOf('e1')
    broken.content.set('DXO', 'text')
    const nameless = eventOf('e2')
    nameless.headers.delete('_event_type')
    for (const event of [broken, nameless]) await send(site, event)
    await expect.poll(() => signs).toHaveLength(2)
    await events.settled()
    expect(fired).toMatchObject([{ dxo: undefined }])
  })
})

describe('the journal of metrics', () => {
  async function linesOf(
    events: readonly Partial<Extract<RunEvent, { type: 'site-event' }>>[],
    maxBytes?: number,
  ) {
    const written: string[] = []
    const journal = new MetricJournal(
      {
        files: {
          append: async (path: string, bytes: Uint8Array) =>
            void written.push(`${path} ${new TextDecoder().decode(bytes)}`),
        } as ConstructorParameters<typeof MetricJournal>[0]['files'],
        clock: fakeClock(0),
        logger: silentLogger,
      },
      maxBytes,
    )
    for (const event of events)
      await journal.onEvent({
        type: 'site-event',
        name: 'x',
        site: 'site-1',
        data: new Map(),
        dxo: undefined,
        ...event,
      })
    return written
  }
  const analytic = (data: Record<string, FobsValue>) => ({
    dxo: { kind: 'ANALYTIC' as const, data: new Map(Object.entries(data)), meta: new Map() },
  })

  it('writes one line a number, as it came', async () => {
    const time = '1970-01-01T00:00:00.000Z'
    expect(
      await linesOf([
        analytic({ track_key: 'loss', track_value: 0.5, global_step: 3 }),
        analytic({
          track_key: 'm',
          track_value: new Map([
            ['a', 1],
            ['b', 2],
          ]),
        }),
      ]),
    ).toEqual([
      `metrics.jsonl {"site":"site-1","key":"loss","value":0.5,"step":3,"time":"${time}"}\n`,
      `metrics.jsonl {"site":"site-1","key":"m/a","value":1,"time":"${time}"}\n{"site":"site-1","key":"m/b","value":2,"time":"${time}"}\n`,
    ])
  })

  it.each<[string, Record<string, FobsValue>]>([
    ['a text', { track_key: 'x', track_value: 'secret' }],
    ['no finite number', { track_key: 'x', track_value: Number.NaN }],
    ['bytes', { track_key: 'x', track_value: new Uint8Array(3) }],
    ['no key', { track_value: 1 }],
    ['a key without end', { track_key: 'x'.repeat(201), track_value: 1 }],
  ])('writes nothing of %s', async (_what, data) => {
    expect(await linesOf([analytic(data)])).toEqual([])
  })

  it('leaves out other events and a step that is none', async () => {
    const dxo = { kind: 'METRICS' as const, data: new Map(), meta: new Map() }
    expect(await linesOf([{}, { dxo }])).toEqual([])
    const [line] = await linesOf([
      analytic({ track_key: 'x', track_value: 1, global_step: 'many' }),
    ])
    expect(line).not.toContain('step')
  })

  it('ends when its file is full', async () => {
    const event = analytic({ track_key: 'loss', track_value: 0.5 })
    expect(await linesOf([event, event, event], 200)).toHaveLength(2)
  })
})
