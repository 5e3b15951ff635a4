import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

let league: League
beforeAll(async () => {
  league = await League.start()
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

/** Adds a fixed array to whatever arrives: after two rounds the sum of both rounds' means is in the model. */
const TRAINER = trainerOf(`
  const values = site === 'site-1' ? [1, 2, 3] : [5, 6, 7]
  const examples = site === 'site-1' ? 1 : 3
  const before = model.params?.w?.data ?? [0, 0, 0]
  const w = { dtype: 'float32', shape: [3], data: Float32Array.from(values, (v, i) => v + Number(before[i])) }
  await send({ params: { w }, metrics: { accuracy: examples / 4 }, meta: { NUM_STEPS_CURRENT_ROUND: examples } })`)

describe('a league', () => {
  let job: string
  let folder: string

  it('runs a job from submission to a model that anyone can open', async () => {
    job = await league.submit(
      await writeJob(league.folder, { name: 'means', rounds: 2, trainer: TRAINER }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    folder = await league.download(job)
    // Mean of [1,2,3] once and [5,6,7] three times, two rounds long.
    expect([...(await readGlobalModel(folder)).get('w')!.data]).toEqual([8, 10, 12])
  }, 120_000)

  it('lays the result out as stock does', async () => {
    const meta = JSON.parse(await readFile(join(folder, 'meta.json'), 'utf8'))
    expect(meta).toMatchObject({
      job_id: job,
      name: 'means',
      status: 'FINISHED:COMPLETED',
      submitter_name: LEAD,
    })
    expect(await readFile(join(folder, 'job', 'means', 'meta.json'), 'utf8')).toContain('means')
    await readFile(join(folder, 'workspace', 'app_server', 'config', 'config_fed_server.json'))
  })

  it('says what each site contributed in each round', async () => {
    const rounds = (await readFile(join(folder, 'workspace', 'rounds.jsonl'), 'utf8'))
      .trim()
      .split('\n')
    expect(rounds).toHaveLength(2)
    expect(JSON.parse(rounds[0]!)).toMatchObject({
      round: 0,
      contributions: [
        { site: 'site-1', accepted: true, weight: 1, metrics: { accuracy: 0.25 } },
        { site: 'site-2', accepted: true, weight: 3, metrics: { accuracy: 0.75 } },
      ],
    })
  })

  it('shows its state and its jobs', async () => {
    const status = (await league.asLead('status')).json
    expect(status).toMatchObject({
      sites: [
        { name: 'site-1', connected: true },
        { name: 'site-2', connected: true },
      ],
    })
    const list = (await league.asLead('job', 'list')).json
    expect(list).toMatchObject({
      jobs: [{ job, name: 'means', status: 'FINISHED:COMPLETED', submitter: LEAD }],
    })
  })

  it('recorded every step at the server and at each site, in a chain that holds', async () => {
    for (const place of [SERVER, 'site-1', 'site-2']) {
      const verified = await league.hanse('audit', 'verify', league.kit(place))
      expect(verified.code, verified.stdout).toBe(0)
      const acts = (await league.record(place)).map((entry) => JSON.stringify(entry))
      expect(acts.some((entry) => entry.includes(job) && entry.includes('accepted'))).toBe(true)
    }
  })

  it('leaves no process behind but the server, the sites and what waits at them for a job', async () => {
    expect(await league.leftovers()).toEqual([])
  })
})
