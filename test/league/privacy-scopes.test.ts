import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League, SERVER } from '../support/league.ts'

const FILTERS = 'nvflare.app_common.filters'
const percentile = (gamma: number, more: object = {}) => ({
  path: `${FILTERS}.percentile_privacy.PercentilePrivacy`,
  args: { percentile: 0, gamma, ...more },
})
const blocker = {
  path: `${FILTERS}.dxo_blocker.DXOBlocker`,
  args: { data_kinds: ['WEIGHTS', 'WEIGHT_DIFF'], allow_data_kinds: true },
}
/** Of site-1; site-2 has none. */
const SITE = {
  scopes: [
    { name: 'careful', task_result_filters: [percentile(0.5)] },
    { name: 'changes', task_result_filters: [percentile(0.5, { data_kinds: ['WEIGHT_DIFF'] })] },
    { name: 'quiet', task_result_filters: [blocker, percentile(0.5)] },
    { name: 'open' },
  ],
  default_scope: 'careful',
}
/** The server's own: every result that comes in is limited, whatever the site did. */
const CENTRE = {
  scopes: [
    { name: 'careful' },
    { name: 'changes' },
    { name: 'quiet' },
    { name: 'open', task_result_filters: [percentile(2)] },
    { name: 'unknown-at-site-1' },
  ],
  default_scope: 'careful',
}
const privacyOf = (league: League, place: string) =>
  join(league.kit(place), 'local', 'privacy.json')

let league: League
beforeAll(async () => {
  league = await League.start({
    async prepare(one) {
      await writeFile(privacyOf(one, 'site-1'), JSON.stringify(SITE))
      await writeFile(privacyOf(one, SERVER), JSON.stringify(CENTRE))
    },
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

/** Both sites send 4 of everything, and try to get 4,321 past the filters. */
const TRAINER = trainerOf(`
  const secret = new Float32Array([4321])
  for (let step = 0; step < 500; step++) await log('loss', 4321, { step })
  await send({
    params: { w: { dtype: 'float32', shape: [2], data: new Float32Array([4, 0.25]) } },
    metrics: { accuracy: 1 },
    meta: { NUM_STEPS_CURRENT_ROUND: 1, stolen: { dtype: 'float32', shape: [1], data: secret } },
  })`).replace('import { ', 'import { log, ')

async function run(name: string, meta: Record<string, unknown>, minClients = 2) {
  const options = { name, rounds: 1, minClients, trainer: TRAINER, meta }
  const job = await league.submit(await writeJob(league.folder, options))
  const status = await league.wait(job)
  return { job, status }
}
async function modelOf(job: string): Promise<number[]> {
  const model = await readGlobalModel(await league.download(job))
  return Array.from(model.get('w')!.data, Number)
}
const recordOf = async (place: string, job: string, act: string) =>
  (await league.record(place)).filter((entry) => entry['job'] === job && entry['act'] === act)

describe('a site with privacy scopes', () => {
  it('filters what leaves it by its default scope, and records it', async () => {
    const { job, status } = await run('by-default', {})
    expect(status).toBe('FINISHED:COMPLETED')
    // 0.5 at most from site-1, 4 from site-2, each with one step.
    expect(await modelOf(job)).toEqual([2.25, 0.25])
    expect(await recordOf('site-1', job, 'filter')).toMatchObject([
      {
        outcome: 'accepted',
        code: 'filtered',
        target: 'result of train',
        text: "privacy scope 'careful': PercentilePrivacy",
      },
    ])
    const [deployed] = await recordOf('site-1', job, 'deploy')
    expect(deployed).toMatchObject({ text: expect.stringContaining("privacy scope 'careful'") })
    expect(await recordOf('site-2', job, 'filter')).toEqual([])
  }, 120_000)

  it('filters nothing in a scope without filters; the server does by its own scope', async () => {
    const { job, status } = await run('open', { scope: 'open' })
    expect(status).toBe('FINISHED:COMPLETED')
    // The server takes 2 at most of each.
    expect(await modelOf(job)).toEqual([2, 0.25])
    expect(await recordOf('site-1', job, 'filter')).toEqual([])
  }, 120_000)

  it('lets a trainer not choose the kind of model that nobody filters', async () => {
    // Trainers send whole models here, the scope's filter is for changes.
    const { job, status } = await run('other-kind', { scope: 'changes' })
    expect(status).toBe('FINISHED:EXECUTION_EXCEPTION')
    expect(String((await league.show(job))['reason'])).toContain(
      'no filter of the privacy scope looks at data of kind WEIGHTS',
    )
    expect(await recordOf('site-1', job, 'filter')).toMatchObject([
      { outcome: 'refused', code: 'refused-by-filter' },
    ])
  }, 120_000)

  it('refuses a job of a scope that it does not have, with reason and record', async () => {
    const { job, status } = await run('unknown', { scope: 'unknown-at-site-1' })
    expect(status).toBe('FINISHED:FAILED_TO_RUN')
    expect(String((await league.show(job))['reason'])).toContain(
      "site 'site-1': privacy scope 'unknown-at-site-1' is not allowed",
    )
    expect(await recordOf('site-1', job, 'deploy')).toMatchObject([
      { outcome: 'refused', code: 'scope-not-allowed' },
    ])
  }, 120_000)

  it('has its numbers to log held back by a filter of kinds, and few of them else', async () => {
    const metricsOf = async (job: string) => {
      const folder = await league.download(job)
      const text = await readFile(join(folder, 'workspace', 'metrics.jsonl'), 'utf8').catch(
        () => '',
      )
      return text.split('\n').filter((line) => line.includes('site-1')).length
    }
    const quiet = await run('quiet', { scope: 'quiet' })
    expect(quiet.status).toBe('FINISHED:COMPLETED')
    expect(await metricsOf(quiet.job)).toBe(0)
    const careful = await run('careful', { scope: 'careful' })
    expect(await metricsOf(careful.job)).toBe(100)
  }, 120_000)

  it('is shown with its scopes, and the server with its own', async () => {
    const { json } = await league.asLead('scopes')
    expect(json?.['scopes']).toEqual([
      {
        place: 'server',
        scopes: ['careful', 'changes', 'open', 'quiet', 'unknown-at-site-1'],
        default: 'careful',
      },
      { place: 'site-1', scopes: ['careful', 'changes', 'open', 'quiet'], default: 'careful' },
      { place: 'site-2', scopes: [], default: '' },
    ])
  }, 60_000)
})

describe('a place whose privacy file is broken', () => {
  const startWith = async (place: string, text: string) => {
    const kit = join(league.folder, `broken-${place}-${crypto.randomUUID()}`)
    await cp(league.kit(place), kit, { recursive: true })
    await rm(join(kit, 'state'), { recursive: true, force: true })
    await writeFile(join(kit, 'local', 'privacy.json'), text)
    const started = league.launch(`broken-${kit}`, kit)
    const { code } = await started.exited
    return { code, words: JSON.stringify(started.events) + started.stderr }
  }
  const scopes = (...filters: object[]) =>
    JSON.stringify({ scopes: [{ name: 'a', task_result_filters: filters }] })

  it.each([
    ['is not JSON', 'site-2', '{', ['local/privacy.json is not valid JSON']],
    [
      'has a misspelt key',
      'site-2',
      JSON.stringify({ scopes: [{ name: 'a', task_result_filter: [] }] }),
      ['task_result_filter', 'allowed are name', 'scopes[0]'],
    ],
    [
      'names a filter that there is not',
      'site-2',
      scopes({ name: 'GaussianPrivacy' }),
      ['scopes[0].task_result_filters[0]', 'GaussianPrivacy', 'PercentilePrivacy'],
    ],
    [
      'has an argument that would switch its filter off in stock',
      SERVER,
      scopes(percentile(0)),
      ['scopes[0].task_result_filters[0]', 'gamma'],
    ],
  ])('does not start when it %s, and says why', async (_what, place, text, words) => {
    const { code, words: said } = await startWith(place, text)
    expect(code).toBe(3)
    for (const word of ['privacy.json', ...words]) expect(said).toContain(word)
  })
})

async function exampleOfThePage(): Promise<string> {
  const page = new URL('../../docs/privacy-scopes.md', import.meta.url)
  const [, json] = /```json\n(.*?)```/s.exec(await readFile(page, 'utf8')) ?? []
  return json ?? ''
}

it('the example in a new kit works when it is renamed, and that of the documentation as it is', async () => {
  for (const place of ['site-2', SERVER]) {
    await league.place(place).stop()
    await cp(`${privacyOf(league, place)}.sample`, privacyOf(league, place))
  }
  await league.startPlace(SERVER)
  await league.startPlace('site-2')
  await league.place('site-1').stop()
  await writeFile(privacyOf(league, 'site-1'), await exampleOfThePage())
  await league.startPlace('site-1')
  const { json } = await league.asLead('scopes')
  expect(json?.['scopes']).toContainEqual({
    place: 'site-1',
    scopes: ['benchmark', 'clinical'],
    default: 'clinical',
  })
  expect(json?.['scopes']).toContainEqual({
    place: 'site-2',
    scopes: ['private', 'public'],
    default: 'private',
  })
}, 60_000)
