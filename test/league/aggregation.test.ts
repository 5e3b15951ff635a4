import type { Tensor } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League } from '../support/league.ts'

let league: League
beforeAll(async () => {
  league = await League.start({ sites: ['site-1', 'site-2', 'site-3'] })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

/** Every site answers with the arrays that `answers` gives it, after a wait of its own. */
async function aggregate(
  name: string,
  answers: Record<
    string,
    { readonly examples: number; readonly delayMs: number; readonly params: string }
  >,
): Promise<ReadonlyMap<string, Tensor>> {
  const cases = Object.entries(answers).map(
    ([site, { examples, delayMs, params }]) =>
      `'${site}': { examples: ${examples}, delayMs: ${delayMs}, params: ${params} }`,
  )
  const trainer = trainerOf(`
  const NaN64 = Number.NaN, INF = Infinity
  const answer = { ${cases.join(', ')} }[site]
  await new Promise((resolve) => setTimeout(resolve, answer.delayMs))
  await send({ params: answer.params, metrics: {}, meta: { NUM_STEPS_CURRENT_ROUND: answer.examples } })`)
  const job = await league.submit(
    await writeJob(league.folder, { name, rounds: 1, minClients: 3, trainer }),
  )
  expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  return readGlobalModel(await league.download(job))
}

const f32 = (values: string, shape: string) =>
  `{ dtype: 'float32', shape: ${shape}, data: new Float32Array(${values}) }`
const f64 = (values: string, shape: string) =>
  `{ dtype: 'float64', shape: ${shape}, data: new Float64Array(${values}) }`

describe('federated averaging', () => {
  it('is the weighted mean, bit for bit where it is representable, for every shape', async () => {
    const paramsOf = (k: number) => `{
      scalar: ${f32(`[${k}]`, '[]')},
      cube: ${f32(`Array.from({ length: 24 }, (_, i) => i * ${k})`, '[2, 3, 4]')},
      four: ${f64(`Array.from({ length: 16 }, (_, i) => i + ${k})`, '[2, 2, 2, 2]')},
      empty: ${f32('[]', '[0]')},
    }`
    const model = await aggregate('shapes', {
      'site-1': { examples: 1, delayMs: 0, params: paramsOf(1) },
      'site-2': { examples: 2, delayMs: 0, params: paramsOf(2) },
      'site-3': { examples: 5, delayMs: 0, params: paramsOf(4) },
    })
    const mean = (1 * 1 + 2 * 2 + 5 * 4) / 8
    expect(model.get('scalar')).toMatchObject({ dtype: 'float32', shape: [] })
    expect([...model.get('scalar')!.data]).toEqual([mean])
    expect(model.get('cube')).toMatchObject({ dtype: 'float32', shape: [2, 3, 4] })
    expect([...model.get('cube')!.data]).toEqual(Array.from({ length: 24 }, (_, i) => i * mean))
    expect(model.get('four')).toMatchObject({ dtype: 'float64', shape: [2, 2, 2, 2] })
    expect([...model.get('four')!.data]).toEqual(Array.from({ length: 16 }, (_, i) => i + mean))
    expect(model.get('empty')).toMatchObject({ shape: [0] })
  }, 120_000)

  it('gives the same bits whatever the order of arrival', async () => {
    const params = (seed: number) =>
      `{ w: ${f32(`Array.from({ length: 1000 }, (_, i) => Math.sin(i * ${seed}) * 10 ** (i % 7))`, '[1000]')} }`
    const answers = (delays: readonly number[]) =>
      Object.fromEntries(
        [1.1, 2.3, 3.7].map((seed, i) => [
          `site-${i + 1}`,
          { examples: 10 + i * 7, delayMs: delays[i]!, params: params(seed) },
        ]),
      )
    const forward = await aggregate('forward', answers([0, 300, 600]))
    const backward = await aggregate('backward', answers([600, 300, 0]))
    expect(backward.get('w')).toEqual(forward.get('w'))
  }, 120_000)

  it('averages an array over the sites that sent it, and treats NaN and infinities as IEEE does', async () => {
    const model = await aggregate('partial', {
      'site-1': {
        examples: 1,
        delayMs: 0,
        params: `{ all: ${f32('[1]', '[1]')}, some: ${f32('[2]', '[1]')}, odd: ${f32('[NaN64, INF, INF, 1]', '[4]')} }`,
      },
      'site-2': {
        examples: 3,
        delayMs: 0,
        params: `{ all: ${f32('[1]', '[1]')}, some: ${f32('[6]', '[1]')}, odd: ${f32('[1, 1, -INF, 1]', '[4]')} }`,
      },
      'site-3': {
        examples: 4,
        delayMs: 0,
        params: `{ all: ${f32('[1]', '[1]')}, odd: ${f32('[1, 1, 1, 1]', '[4]')} }`,
      },
    })
    expect([...model.get('all')!.data]).toEqual([1])
    expect([...model.get('some')!.data]).toEqual([(2 * 1 + 6 * 3) / 4])
    expect([...model.get('odd')!.data]).toEqual([Number.NaN, Infinity, Number.NaN, 1])
  }, 120_000)
})
