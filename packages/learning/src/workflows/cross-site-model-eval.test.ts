import { type JsonObject, messageOf } from '@hanse/contract'
import { DictValue, type FobsValue } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { Tensor, writeNpy } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { ManualClock, settled } from '../../test/manual-clock.ts'
import { MemoryFiles } from '../../test/memory-files.ts'
import { decodeDxoFile } from '../codecs/dxo-file.ts'
import { NumpyScalar } from '../codecs/numpy-scalar.ts'
import { mapOf, readDxo, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import type { TaskBoard } from '../tasks/task-board.ts'

const SITES = ['site-1', 'site-2']
const f32 = (...values: number[]): Tensor =>
  new Tensor('float32', [values.length], Float32Array.from(values))
const model = (value: number): Shareable =>
  withDxo({ kind: 'WEIGHTS', data: new Map([['numpy_key', f32(value)]]), meta: new Map() })
const metrics = (values: Record<string, FobsValue>): Shareable =>
  withDxo({ kind: 'METRICS', data: new Map(Object.entries(values)), meta: new Map() })
const coded = (code: string): Shareable => new Shareable(new Map([[HEADER.returnCode, code]]))
const received = (data: Shareable): number => {
  const value = mapOf(readDxo(data)).get('numpy_key')
  return value instanceof Tensor ? Number(value.data[0]) : Number.NaN
}
const number = (site: string): number => Number(site.replace(/\D/g, ''))

const config = (args: JsonObject, name = 'CrossSiteModelEval'): JsonObject => ({
  format_version: 2,
  workflows: [{ id: 'evaluation', name, args }],
  components: [
    { id: 'locator', name: 'NPModelLocator' },
    { id: 'formatter', name: 'NPFormatter' },
    { id: 'json', name: 'ValidationJsonGenerator' },
  ],
})

/** A site's model is its number; what it measures tells model and site apart. */
const site: Trainer = ({ name, data }, site) =>
  name === 'submit_model'
    ? model(number(site))
    : metrics({ sum: received(data) * 10 + number(site) })

function saved(): MemoryFiles {
  const files = new MemoryFiles()
  files.content.set('models/server.npy', writeNpy(f32(7)))
  return files
}
const run = (
  trainer: Trainer,
  args: JsonObject = {},
  { name, ...rest }: Partial<InMemoryRunOptions> & { name?: string } = {},
) => runInMemory({ sites: SITES, config: config(args, name), trainer, files: saved(), ...rest })
const failure = (running: Promise<unknown>): Promise<string> =>
  running.then(() => 'no failure', messageOf)
const results = (files: MemoryFiles): unknown =>
  JSON.parse(files.text('cross_site_val/cross_val_results.json'))

describe('CrossSiteModelEval', () => {
  it('has every site try the models of all sites and of the server', async () => {
    const asked: unknown[] = []
    const { files } = await run(
      (task, name) => {
        const { headers } = task.data
        asked.push(headers.get('submit_model_name') ?? headers.get('_model_owner_'))
        return site(task, name)
      },
      { model_locator_id: 'locator', formatter_id: 'formatter' },
    )
    expect(results(files)).toEqual({
      'site-1': { SRV_server: { sum: 71 }, 'site-1': { sum: 11 }, 'site-2': { sum: 21 } },
      'site-2': { SRV_server: { sum: 72 }, 'site-1': { sum: 12 }, 'site-2': { sum: 22 } },
    })
    expect(new Set(asked)).toEqual(new Set(['best_model', 'SRV_server', ...SITES]))
    const kept = (name: string) => decodeDxoFile(files.content.get(`cross_site_val/${name}`)!)
    expect(kept('model_shareables/site-2')).toMatchObject({ kind: 'WEIGHTS' })
    expect(kept('model_shareables/SRV_server').data).toEqual(new Map([['numpy_key', f32(7)]]))
    expect(kept('result_shareables/site-1_site-2').data).toEqual(new Map([['sum', 21]]))
  })

  it("takes a model that is a map of stock's own type", async () => {
    const { files } = await run((task, who) => {
      const map = new Map([['numpy_key', f32(number(who))]])
      const data = new DictValue('nvflare.app_common.abstract.model.ModelLearnable', map)
      return task.name === 'submit_model'
        ? withDxo({ kind: 'WEIGHTS', data, meta: new Map() })
        : site(task, who)
    })
    expect(results(files)).toMatchObject({ 'site-1': { 'site-2': { sum: 21 } } })
  })

  it('asks no site for a model in GlobalModelEval, which needs a locator', async () => {
    const names: string[] = []
    const { files } = await run(
      (task, name) => {
        names.push(task.name)
        return site(task, name)
      },
      { model_locator_id: 'locator' },
      { name: 'GlobalModelEval' },
    )
    expect(names).toEqual(['validate', 'validate'])
    expect(results(files)).toEqual({
      'site-1': { SRV_server: { sum: 71 } },
      'site-2': { SRV_server: { sum: 72 } },
    })
    expect(await failure(run(site, {}, { name: 'GlobalModelEval' }))).toContain('model_locator_id')
  })

  it('leaves out sites that have no model, and results that are none', async () => {
    const { files } = await run(({ name, data }, who) => {
      if (name === 'submit_model') return who === 'site-1' ? new Shareable() : model(2)
      return who === 'site-1' ? metrics({ sum: received(data) }) : coded('EXECUTION_EXCEPTION')
    })
    expect(results(files)).toEqual({ 'site-1': { 'site-2': { sum: 2 } } })
  })

  it.each([
    ['a model where metrics belong', 'validate', model(1)],
    ['metrics where a model belongs', 'submit_model', metrics({ sum: 1 })],
    [
      'a collection of models',
      'submit_model',
      withDxo({ kind: 'COLLECTION', data: new Map(), meta: new Map() }),
    ],
  ])('does not take %s', async (_, where, answer) => {
    const { files } = await run((task, who) => (task.name === where ? answer : site(task, who)))
    expect(results(files)).toEqual({})
  })

  it('writes metrics of any kind, and no key of a site means anything', async () => {
    const values = {
      loss: new NumpyScalar('float32', 0.5),
      curve: [1, null, Number.NaN],
      matrix: f32(1, 2),
      note: 'fine',
      done: true,
      nested: new Map<FobsValue, FobsValue>([[3, new Uint8Array(2)]]),
      ['__proto__']: 1,
    }
    const { files } = await run((task, who) =>
      task.name === 'submit_model' ? site(task, who) : metrics(values),
    )
    const text = files.text('cross_site_val/cross_val_results.json')
    expect(text).toContain(
      '{"loss":0.5,"curve":[1,null,null],"matrix":[1,2],"note":"fine","done":true,"nested":{"3":null},"__proto__":1}',
    )
  })

  it('says which model the server does not have', async () => {
    const args = { model_locator_id: 'locator' }
    expect(await failure(run(site, args, { files: new MemoryFiles() }))).toContain(
      'the server has no model "server" to be tried',
    )
    const broken = new MemoryFiles()
    broken.content.set('models/server.npy', new Uint8Array(10))
    expect(await failure(run(site, args, { files: broken }))).toContain('no model "server"')
  })

  it.each([
    ['/etc/model.npy', 'a job may not read other files'],
    ['../server.npy', 'a job may not read other files'],
  ])('does not look for a model in %s', async (file, message) => {
    const base = config({ model_locator_id: 'locator' })
    const components = [
      { id: 'locator', name: 'NPModelLocator', args: { model_name: { a: file } } },
    ]
    expect(await failure(run(site, {}, { config: { ...base, components } }))).toContain(message)
  })

  it('asks only the sites that take part, which must be there', async () => {
    const { files } = await run(site, { participating_clients: ['site-2'] })
    expect(results(files)).toEqual({ 'site-2': { 'site-2': { sum: 22 } } })
    expect(await failure(run(site, { participating_clients: ['site-9'] }))).toContain("'site-9'")
  })

  it('sends four models at most until one was tried everywhere', async () => {
    const sites = Array.from({ length: 9 }, (_, i) => `site-${i + 1}`)
    const sent = new Set<unknown>()
    const slow = Promise.withResolvers<void>()
    const run9 = run(
      async ({ name, data }, who) => {
        if (name === 'submit_model') return model(number(who))
        sent.add(data.headers.get('_model_owner_'))
        if (who === 'site-1') await slow.promise
        return metrics({ sum: 1 })
      },
      {},
      { sites },
    )
    for (let turn = 0; turn < 50; turn++) await settled()
    expect(sent.size).toBe(4)
    slow.resolve()
    const { files } = await run9
    expect(sent.size).toBe(9)
    expect(Object.keys(results(files) as object).sort()).toEqual(sites)
  })

  it('takes models and metrics that come late, as long as the evaluation lasts', async () => {
    const clock = new ManualClock()
    const tried = Promise.withResolvers<void>()
    const { files } = await run(
      async (task, who) => {
        if (who === 'site-2') {
          // Too late with its model, and then with what it measured on the other's.
          await clock.advance(6_000)
          if (task.data.headers.get('_model_owner_') === 'site-2') tried.resolve()
        } else if (task.data.headers.get('_model_owner_') === 'site-2') await tried.promise
        return site(task, who)
      },
      { submit_model_timeout: 5, validation_timeout: 20 },
      { clock },
    )
    expect(results(files)).toEqual({
      'site-1': { 'site-1': { sum: 11 }, 'site-2': { sum: 21 } },
      'site-2': { 'site-1': { sum: 12 }, 'site-2': { sum: 22 } },
    })
  })

  it('believes no late result about a model that is not there', async () => {
    let board: TaskBoard | undefined
    const { files } = await run(
      async (task, who) => {
        if (task.name === 'validate')
          for (const owner of ['nobody', '../../../out', 7]) {
            const forged = metrics({ sum: 99 })
            const cookies: [string, FobsValue][] = [
              ['__workflow__', 'evaluation'],
              [HEADER.modelOwner, owner],
            ]
            forged.headers.set(HEADER.cookieJar, new Map(cookies))
            await board?.submit(who, 'no such delivery', 'validate', forged)
          }
        return site(task, who)
      },
      {},
      {
        onBoard(made) {
          board = made
        },
      },
    )
    const kept = [...files.content.keys()].filter((path) => path.includes('result_shareables'))
    expect(kept.sort()).toEqual(
      SITES.flatMap((who) =>
        SITES.map((owner) => `cross_site_val/result_shareables/${who}_${owner}`),
      ),
    )
    expect(files.text('cross_site_val/cross_val_results.json')).not.toContain('99')
  })

  it('deletes the models afterwards if the job wants that', async () => {
    const { files } = await run(site, { cleanup_models: true })
    const left = [...files.content.keys()].filter((path) => path.startsWith('cross_site_val/'))
    expect(left.some((path) => path.includes('model_shareables'))).toBe(false)
    expect(left).toContain('cross_site_val/result_shareables/site-1_site-2')
  })

  it('ends with the reason of an abort', async () => {
    const abort = new AbortController()
    const trainer: Trainer = (task, who) => {
      if (task.name === 'validate') abort.abort(new Error('a person says so'))
      return site(task, who)
    }
    expect(await failure(run(trainer, {}, { signal: abort.signal }))).toBe('a person says so')
  })
})
