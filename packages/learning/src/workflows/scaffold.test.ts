import { readFileSync } from 'node:fs'
import { type JsonObject, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import { isTensor, parseNpy, Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { isValueMap } from '../model/dxo.ts'
import { type FLModel, modelToShareable, shareableToModel } from '../model/fl-model.ts'

const read = (path: string) =>
  JSON.parse(readFileSync(new URL(`../../../../vectors/${path}`, import.meta.url), 'utf8'))
const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))

const config = (args: JsonObject = {}): JsonObject => ({
  format_version: 2,
  workflows: [
    { id: 'scaffold', name: 'Scaffold', args: { num_clients: 2, num_rounds: 1, ...args } },
  ],
  components: [{ id: 'persistor', name: 'NPModelPersistor', args: { model: [1, 2] } }],
})
const run = (trainer: Trainer, args: JsonObject = {}, rest: Partial<InMemoryRunOptions> = {}) =>
  runInMemory({ sites: ['site-1', 'site-2'], config: config(args), trainer, ...rest })

function reply(
  params: Record<string, FobsValue>,
  control: Record<string, FobsValue> | undefined,
  { steps = 1, paramsType = 'FULL' as FLModel['paramsType'] } = {},
): Shareable {
  const meta = new Map<string, FobsValue>([['NUM_STEPS_CURRENT_ROUND', steps]])
  if (control !== undefined) meta.set('scaffold_c_diff', new Map(Object.entries(control)))
  return modelToShareable({ paramsType, params: new Map(Object.entries(params)), meta })
}
function controlOf(data: Shareable, name = 'numpy_key'): FobsValue | undefined {
  const control = shareableToModel(data).meta.get('scaffold_c_global')
  return isValueMap(control) ? control.get(name) : undefined
}
const failure = (running: Promise<unknown>): Promise<string> =>
  running.then(() => 'no failure', messageOf)

describe('Scaffold', () => {
  it('sends the control with the model, zero at first, and adds the mean of its differences', async () => {
    const controls: unknown[] = []
    const { state, files } = await run(
      ({ data }, site) => {
        if (site === 'site-1') controls.push(controlOf(data))
        return site === 'site-1'
          ? reply({ numpy_key: f32(1, 1) }, { numpy_key: f32(4, 0) }, { steps: 1 })
          : reply({ numpy_key: f32(5, 9) }, { numpy_key: f32(0, 8) }, { steps: 3 })
      },
      { num_rounds: 3 },
    )
    expect(controls).toEqual([f32(0, 0), f32(1, 6), f32(2, 12)])
    expect(state.globalModel.weights).toEqual(new Map([['numpy_key', f32(4, 7)]]))
    expect([...state.globalModel.meta.keys()]).not.toContain('scaffold_c_global')
    expect(parseNpy(files.content.get('models/server.npy')!)).toEqual(f32(4, 7))
  })

  it('adds differences of the model too, and begins controls for parameters that are new', async () => {
    const seen: unknown[] = []
    const { state } = await run(
      ({ data }) => {
        seen.push([controlOf(data, 'new'), controlOf(data, 'scalar')])
        return reply(
          { numpy_key: f32(1, 1), new: f32(3), scalar: 4 },
          { numpy_key: f32(0, 0), new: f32(2), scalar: 0.5 },
        )
      },
      { num_rounds: 2 },
    )
    expect(seen.slice(2)).toEqual([
      [f32(2), 0.5],
      [f32(2), 0.5],
    ])
    expect(state.globalModel.weights.get('new')).toEqual(f32(3))
    const diff = await run(() =>
      reply({ numpy_key: f32(1, 1) }, { numpy_key: f32(0, 0) }, { paramsType: 'DIFF' }),
    )
    expect(diff.state.globalModel.weights.get('numpy_key')).toEqual(f32(2, 3))
  })

  it.each<[string, Record<string, FobsValue> | undefined, string]>([
    ['none', undefined, 'has no "scaffold_c_diff"'],
    ['an empty one', {}, 'has no "scaffold_c_diff"'],
    ['one of a parameter that nobody has', { other: f32(1, 1) }, '"other"'],
    ['one of another shape', { numpy_key: f32(1) }, 'has shape (1)'],
    ['a text', { numpy_key: 'text' }, 'is not of the kind'],
  ])(
    'leaves a site out whole that sends a difference of the control that is %s',
    async (_, control, reason) => {
      const { events, state } = await run((_task, site) =>
        site === 'site-1'
          ? reply({ numpy_key: f32(8, 8) }, { numpy_key: f32(1, 1) })
          : reply({ numpy_key: f32(0, 0) }, control),
      )
      expect(state.globalModel.weights.get('numpy_key')).toEqual(f32(8, 8))
      expect(events).toContainEqual({
        type: 'contribution',
        report: expect.objectContaining({
          site: 'site-2',
          accepted: false,
          reason: expect.stringContaining(reason),
        }),
      })
    },
  )

  it('fails when no site sends a control', async () => {
    const trainer: Trainer = () => reply({ numpy_key: f32(1, 1) }, undefined)
    expect(await failure(run(trainer))).toContain('no contribution of round 0 was accepted')
  })

  it('gives what stock gives for the same sites', async () => {
    const { x: data } = read('scaffold-data.json') as { x: Record<string, number[][]> }
    const expected = read('jobs/expected/numpy-scaffold.json').final_models.server
    const server = read('jobs/numpy-scaffold/app/config/config_fed_server.json')
    const local = new Map<string, readonly number[]>()
    const trainer: Trainer = (task, site) => {
      const start = numbers(shareableToModel(task.data).params?.get('numpy_key'))
      const control = numbers(controlOf(task.data))
      const own = local.get(site) ?? [0, 0, 0, 0]
      const x = data[site]!
      const y = x.map(
        (row) => row.reduce((sum, v, i) => sum + v * (i + 1), 0) + Number(site.at(-1)),
      )
      let w = start
      for (let step = 0; step < 5; step++) {
        const rest = x.map((row, r) => row.reduce((sum, v, i) => sum + v * w[i]!, 0) - y[r]!)
        w = w.map((weight, i) => {
          const gradient = (2 * x.reduce((sum, row, r) => sum + row[i]! * rest[r]!, 0)) / y.length
          return weight - 0.05 * (gradient + control[i]! - own[i]!)
        })
      }
      const next = own.map((c, i) => c - control[i]! + (start[i]! - w[i]!) / 0.25)
      local.set(site, next)
      const difference = next.map((c, i) => c - own[i]!)
      return reply({ numpy_key: f32(...w) }, { numpy_key: f32(...difference) }, { steps: 5 })
    }
    const { files } = await run(trainer, {}, { config: server })
    const model = parseNpy(files.content.get('models/server.npy')!)
    for (const [i, value] of expected['models/server.npy'].data.entries())
      expect(Math.abs(Number(model.data[i]) - value)).toBeLessThan(1e-5)
  })
})

function numbers(value: FobsValue | undefined): number[] {
  return isTensor(value) ? Array.from(value.data, Number) : []
}
