import { readFileSync } from 'node:fs'
import { type JsonObject, messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { isTensor, parseNpy, Tensor } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { modelToShareable, shareableToModel } from '../model/fl-model.ts'
import { solveLinear } from './solve-linear.ts'

const f64 = (rows: readonly (readonly number[])[]): Tensor =>
  new Tensor('float64', [rows.length, rows[0]?.length ?? 0], Float64Array.from(rows.flat()))

describe('solveLinear', () => {
  it('finds what the matrix makes into the right side', () => {
    const number = fc.double({ min: -10, max: 10, noNaN: true })
    const size = fc.integer({ min: 1, max: 6 })
    const problem = size.chain((n) =>
      fc.tuple(
        fc.array(number, { minLength: n * n, maxLength: n * n }),
        fc.array(number, { minLength: n, maxLength: n }),
      ),
    )
    fc.assert(
      fc.property(problem, ([values, x]) => {
        const n = x.length
        // Heavy on the diagonal, but not in order of rows: it can be solved, and needs pivots.
        const matrix = Float64Array.from(values)
        for (let i = 0; i < n; i++) matrix[((i + 1) % n) * n + i]! += 100
        const right = x.map((_, r) => x.reduce((sum, v, c) => sum + matrix[r * n + c]! * v, 0))
        const found = solveLinear(matrix, Float64Array.from(right))
        for (const [i, value] of x.entries()) expect(found?.[i]).toBeCloseTo(value, 9)
      }),
    )
  })

  it.each([
    ['singular', [1, 2, 2, 4], [1, 2]],
    ['no numbers', [Number.NaN, 0, 0, 1], [1, 1]],
    ['endless', [Infinity, 0, 0, 1], [1, 1]],
    ['on the right', [1, 0, 0, 1], [Number.NaN, 1]],
  ])('says so when there is no answer: %s', (_, matrix, right) => {
    expect(solveLinear(Float64Array.from(matrix), Float64Array.from(right))).toBeUndefined()
  })
})

describe('FedAvgLR', () => {
  const config = (args: JsonObject = {}): JsonObject => ({
    format_version: 2,
    workflows: [
      {
        id: 'lr',
        name: 'FedAvgLR',
        args: {
          damping_factor: 0.5,
          epsilon: 0,
          n_features: 1,
          num_clients: 2,
          num_rounds: 1,
          ...args,
        },
      },
    ],
  })
  const reply = (gradient: FobsValue, hessian: FobsValue, steps = 1) =>
    modelToShareable({
      paramsType: 'FULL',
      params: new Map([
        ['gradient', gradient],
        ['hessian', hessian],
      ]),
      meta: new Map([['NUM_STEPS_CURRENT_ROUND', steps]]),
    })
  const run = (trainer: Trainer, args: JsonObject = {}) =>
    runInMemory({ sites: ['site-1', 'site-2'], config: config(args), trainer })
  const failure = (running: Promise<unknown>) => running.then(() => 'no failure', messageOf)

  it('adds the damped step of the mean gradient and Hessian to the weights', async () => {
    const { files } = await run((_, site) =>
      site === 'site-1'
        ? reply(
            f64([[4], [0]]),
            f64([
              [1, 0],
              [0, 2],
            ]),
            1,
          )
        : reply(
            f64([[0], [8]]),
            f64([
              [1, 0],
              [0, 2],
            ]),
            3,
          ),
    )
    // Mean gradient (1, 6), so the whole step is (1, 3).
    expect(parseNpy(files.content.get('models/weights.npy')!)).toEqual(
      new Tensor('float32', [2, 1], Float32Array.of(0.5, 1.5)),
    )
  })

  it.each<[string, FobsValue, FobsValue]>([
    ['no Hessian', f64([[1], [1]]), 3],
    [
      'a gradient of another shape',
      f64([[1]]),
      f64([
        [1, 0],
        [0, 1],
      ]),
    ],
    ['a Hessian of another shape', f64([[1], [1]]), f64([[1, 0]])],
  ])('leaves out a site that sends %s', async (_, gradient, hessian) => {
    const { files } = await run((_task, site) =>
      site === 'site-1'
        ? reply(
            f64([[2], [2]]),
            f64([
              [1, 0],
              [0, 1],
            ]),
          )
        : reply(gradient, hessian),
    )
    expect([...parseNpy(files.content.get('models/weights.npy')!).data]).toEqual([1, 1])
  })

  it('fails on Hessians that cannot be inverted', async () => {
    const trainer: Trainer = () =>
      reply(
        f64([[1], [1]]),
        f64([
          [1, 1],
          [1, 1],
        ]),
      )
    expect(await failure(run(trainer))).toContain('cannot be inverted')
  })

  it('gives what stock gives for the same sites', async () => {
    const read = (path: string) =>
      JSON.parse(readFileSync(new URL(`../../../../vectors/${path}`, import.meta.url), 'utf8'))
    const { x: data, y: labels } = read('newton-data.json')
    const expected = read('jobs/expected/newton-lr.json').final_models.server['models/weights.npy']
    const { files } = await runInMemory({
      sites: ['site-1', 'site-2'],
      config: read('jobs/newton-lr/app/config/config_fed_server.json'),
      trainer(task, site) {
        const value = shareableToModel(task.data).params?.get('numpy_key')
        const w = isTensor(value) ? Array.from(value.data, Number) : []
        const x: number[][] = data[site].map((row: number[]) => [1, ...row])
        const p = x.map((row) => 1 / (1 + Math.exp(-row.reduce((sum, v, i) => sum + v * w[i]!, 0))))
        const gradient = w.map((_, i) => [
          x.reduce((sum, row, r) => sum + row[i]! * (labels[site][r] - p[r]!), 0),
        ])
        const hessian = w.map((_, i) =>
          w.map((_, j) =>
            x.reduce((sum, row, r) => sum + row[i]! * row[j]! * p[r]! * (1 - p[r]!), 0),
          ),
        )
        return reply(f64(gradient), f64(hessian), x.length)
      },
    })
    const model = parseNpy(files.content.get('models/weights.npy')!)
    expect(model).toMatchObject({ dtype: 'float32', shape: expected.shape })
    for (const [i, weight] of expected.data.entries())
      expect(Math.abs(Number(model.data[i]) - weight)).toBeLessThan(1e-6)
  })
})
