import { type JsonObject, messageOf } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import { Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { ManualClock, settled } from '../../test/manual-clock.ts'
import { mapOf, readDxo, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import type { TaskBoard } from '../tasks/task-board.ts'

const SITES = ['site-1', 'site-2', 'site-3']
const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const received = (data: Shareable): number[] => {
  const value = mapOf(readDxo(data)).get('numpy_key')
  return value instanceof Tensor ? [...value.data].map(Number) : []
}
const model = (values: number[], kind: 'WEIGHTS' | 'WEIGHT_DIFF' = 'WEIGHTS'): Shareable =>
  withDxo({ kind, data: new Map([['numpy_key', f32(...values)]]), meta: new Map() })
const coded = (code: string, shareable = new Shareable()): Shareable => {
  shareable.headers.set(HEADER.returnCode, code)
  return shareable
}

const config = (args: JsonObject): JsonObject => ({
  format_version: 2,
  workflows: [{ id: 'cyclic', name: 'CyclicController', args: { num_rounds: 1, ...args } }],
  components: [
    { id: 'persistor', name: 'NPModelPersistor', args: { model: [1] } },
    { id: 'shareable_generator', name: 'FullModelShareableGenerator' },
  ],
})
/** Doubles the model and adds one: the order of the sites shows in the result. */
const step: Trainer = ({ data }) => model(received(data).map((value) => 2 * value + 1))

const run = (trainer: Trainer, args: JsonObject = {}, rest: Partial<InMemoryRunOptions> = {}) =>
  runInMemory({ sites: SITES, config: config(args), trainer, ...rest })
const failure = (running: Promise<unknown>): Promise<string> =>
  running.then(() => 'no failure', messageOf)

async function turns(args: JsonObject, sites: readonly string[] = SITES): Promise<string[]> {
  const order: string[] = []
  const trainer: Trainer = (task, site) => {
    order.push(site)
    return step(task, site)
  }
  await run(trainer, args, { sites })
  return order
}

describe('CyclicController', () => {
  it('gives each site what the one before made, and keeps what the last made', async () => {
    const seen: unknown[] = []
    const { state, files } = await run(
      (task, site) => {
        const { headers } = task.data
        seen.push([site, received(task.data)[0], headers.get('current_round')])
        return step(task, site)
      },
      { num_rounds: 2, order: ['site-3', 'site-1', 'site-2'] },
    )
    expect(seen).toEqual([
      ['site-3', 1, 0],
      ['site-1', 3, 0],
      ['site-2', 7, 0],
      ['site-3', 15, 1],
      ['site-1', 31, 1],
      ['site-2', 63, 1],
    ])
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(127))
    expect([...files.content.keys()].sort()).toEqual([
      'global_model.safetensors',
      'models/server.npy',
    ])
  })

  it('adds differences to the model it sent', async () => {
    const { state } = await run((_, site) => model([Number(site.at(-1))], 'WEIGHT_DIFF'))
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(7))
  })

  it('keeps the order of registration, or the one that the job says, a site twice included', async () => {
    expect(await turns({ num_rounds: 2 })).toEqual([...SITES, ...SITES])
    const order = ['site-2', 'site-1', 'site-2']
    expect(await turns({ order })).toEqual(order)
  })

  it('shuffles anew each round, and with two sites never gives one two turns in a row', async () => {
    const order = await turns({ num_rounds: 30, order: 'RANDOM' })
    const rounds = Array.from({ length: 30 }, (_, i) => order.slice(i * 3, i * 3 + 3))
    for (const round of rounds) expect(round.toSorted()).toEqual(SITES)
    expect(new Set(rounds.map(String)).size).toBeGreaterThan(1)

    const args = { num_rounds: 30, order: 'RANDOM_WITHOUT_SAME_IN_A_ROW' }
    const two = await turns(args, ['site-1', 'site-2'])
    for (const [i, site] of two.entries()) expect(site).not.toBe(two[i - 1])
  })

  it.each([
    ['one site', {}, ['site-1'], 'a cycle needs two sites, 1 are here'],
    ['a site that is not here', { order: ['site-1', 'site-9'] }, SITES, "site 'site-9'"],
    ['no such persistor', { persistor_id: 'nobody' }, SITES, 'has no persistor'],
    ['no such generator', { shareable_generator_id: 'x' }, SITES, 'has no shareable generator'],
  ])('does not begin with %s', async (_, args, sites, message) => {
    expect(await failure(run(step, args, { sites }))).toContain(message)
  })

  it('fails with the site that failed, and nobody comes after it', async () => {
    const asked: string[] = []
    const text = await failure(
      run((task, site) => {
        asked.push(site)
        return site === 'site-2' ? coded('EXECUTION_EXCEPTION') : step(task, site)
      }),
    )
    expect(text).toContain("site 'site-2' has no result for round 0: EXECUTION_EXCEPTION")
    expect(asked).toEqual(['site-1', 'site-2'])
  })

  it('fails on a model that does not fit', async () => {
    const trainer: Trainer = () =>
      withDxo({ kind: 'WEIGHT_DIFF', data: new Map([['other', f32(1)]]), meta: new Map() })
    expect(await failure(run(trainer))).toContain('"other" of a difference is not in the model')
  })

  it('ends when a site wants it and may, with or without a last model', async () => {
    const asked: string[] = []
    const ending =
      (answer: (data: Shareable) => Shareable): Trainer =>
      (task, site) => {
        asked.push(site)
        if (site !== 'site-2') return step(task, site)
        return coded('EARLY_TERMINATION', answer(task.data))
      }
    const args = { num_rounds: 3, allow_early_termination: true }
    const withModel = await run(
      ending(() => model([50])),
      args,
    )
    expect(withModel.state.globalModel.weights.get('numpy_key')).toEqual(f32(50))
    expect(withModel.files.content.has('models/server.npy')).toBe(true)
    const without = await run(
      ending(() => new Shareable()),
      args,
    )
    expect(without.state.globalModel.weights.get('numpy_key')).toEqual(f32(3))
    expect(asked).toEqual(['site-1', 'site-2', 'site-1', 'site-2'])
  })

  it('goes on without a site that is gone, and takes nothing of it when it comes back', async () => {
    const clock = new ManualClock()
    let board: TaskBoard | undefined
    const back = Promise.withResolvers<void>()
    const { state, events } = await run(
      async (task, site) => {
        if (site === 'site-2') {
          board?.siteDisconnected(site)
          await clock.advance(30_000)
          await back.promise
        }
        if (site === 'site-3') {
          board?.siteReconnected('site-2')
          back.resolve()
          await settled()
        }
        return step(task, site)
      },
      {},
      {
        clock,
        onBoard(made) {
          board = made
        },
      },
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(7))
    const turns = events.flatMap((event) =>
      event.type === 'contribution' ? [event.report.site] : [],
    )
    expect(turns).toEqual(['site-1', 'site-3'])
  })

  it('goes on when a site wants to end and may not', async () => {
    const { state } = await run((task, site) =>
      site === 'site-2' ? coded('EARLY_TERMINATION', model([10])) : step(task, site),
    )
    expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(21))
  })

  it('saves every n rounds and at the end', async () => {
    const { events } = await run(step, { num_rounds: 5, persist_every_n_rounds: 2 })
    const saved = events.flatMap((event) => (event.type === 'model-saved' ? [event.round] : []))
    expect(saved).toEqual([1, 3, 4])
  })

  it('ends with the reason of an abort', async () => {
    const abort = new AbortController()
    const running = run(
      (task, site) => {
        if (site === 'site-2') abort.abort(new Error('a person says so'))
        return step(task, site)
      },
      {},
      { signal: abort.signal },
    )
    expect(await failure(running)).toBe('a person says so')
  })
})
