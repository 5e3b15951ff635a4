import type { JobState, JsonObject, StoredJob } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { failedTry, planSchedule, type ScheduleFacts } from './schedule.ts'

const now = Date.UTC(2026, 11, 1)

function job(id: string, meta: JsonObject = {}, state: JobState = 'SUBMITTED'): StoredJob {
  return {
    id,
    state,
    revision: '1',
    meta: { deploy_map: { app: ['@ALL'] }, status: state, ...meta },
  }
}

const online = (...names: string[]) =>
  new Map(names.map((name) => [name, { since: now - 1_000_000 }]))

const plan = (jobs: StoredJob[], facts: Partial<ScheduleFacts> = {}, options = {}) =>
  planSchedule({ now, jobs, sites: online('site-1', 'site-2'), ...facts }, options)

describe('planSchedule', () => {
  it('offers submitted jobs in their order, with the apps of every place', () => {
    const named = job('b', { deploy_map: { s: ['server'], c: ['site-2', 'site-3'] } })
    const { candidates, free } = plan([job('a'), named, job('c', {}, 'FINISHED:ABORTED')])
    expect(free).toBe(4)
    expect(candidates.map(({ job: { id }, sites }) => [id, sites])).toEqual([
      ['a', ['site-1', 'site-2']],
      ['b', ['site-2']],
    ])
    expect([...(candidates[1]?.deployments ?? [])]).toEqual([
      ['server', 's'],
      ['site-2', 'c'],
    ])
  })

  it('runs no more jobs than allowed, and says so', () => {
    const active = [job('r', {}, 'RUNNING'), job('d', {}, 'DISPATCHED')]
    const { candidates, waiting, free } = plan([...active, job('a')], {}, { maxJobs: 2 })
    expect([candidates, free]).toEqual([[], 0])
    expect(waiting).toMatchObject([
      { code: 'max-jobs', explanation: '2 jobs are running; this server runs at most 2 at once' },
    ])
  })

  it.each<[string, JsonObject, string, string]>([
    [
      'too few sites',
      { min_clients: 3 },
      'sites-missing',
      '3 sites are needed, 2 connected (site-1, site-2)',
    ],
    [
      'a mandatory site',
      { mandatory_clients: ['site-1', 'site-9'] },
      'sites-missing',
      'the mandatory sites site-9 are not connected',
    ],
    [
      'named sites',
      { deploy_map: { a: ['server', 'site-1', 'site-7'] }, min_clients: 2 },
      'sites-missing',
      '2 sites are needed, 1 connected (site-1); not connected: site-7',
    ],
    [
      'any site',
      { deploy_map: { a: ['server', 'x'] } },
      'no-sites',
      'none of its sites is connected',
    ],
  ])('explains that a job waits for %s, however long', (_, meta, code, explanation) => {
    const { waiting, hopeless } = plan([job('a', { schedule_count: 9, ...meta })])
    expect(hopeless).toEqual([])
    expect(waiting).toMatchObject([{ code, explanation }])
  })

  it('counts the sites of a study only', () => {
    const studySites = (study: string) => (study === 's' ? new Set(['site-2']) : undefined)
    const inStudy = plan([job('a', { study: 's' })], { studySites })
    expect(inStudy.candidates[0]?.sites).toEqual(['site-2'])
    const foreign = job('b', { study: 's', deploy_map: { a: ['server', 'site-1'] } })
    expect(plan([foreign], { studySites }).hopeless).toMatchObject([
      { explanation: 'the site site-1 is not enrolled in the study s' },
    ])
    expect(plan([job('c')], { studySites }).candidates).toHaveLength(1)
  })

  it('backs off as stock does: 10 s, 10 s, 20 s … 600 s', () => {
    const pauses: number[] = []
    let current = job('a')
    for (let tries = 1; tries <= 9; tries++) {
      current = { ...current, meta: { ...current.meta, ...failedTry(current, now, 'no GPU') } }
      const [waiting] = plan([current]).waiting
      expect(waiting).toMatchObject({ code: 'backing-off' })
      expect(waiting?.explanation).toContain('no GPU')
      pauses.push(((waiting?.until ?? 0) - now) / 1000)
      const due = { now: waiting?.until ?? 0 }
      expect(plan([current], due).candidates).toHaveLength(1)
      expect(plan([current], { now: due.now - 1 }).candidates).toHaveLength(0)
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600])
  })

  it('tries at once when a site of the job connects or resources become free', () => {
    const tried = job('a', {
      deploy_map: { a: ['server', 'site-1'] },
      ...failedTry(job('a'), now - 1000, 'x'),
    })
    expect(plan([tried]).waiting).toHaveLength(1)
    expect(plan([tried], { freedAt: now - 500 }).candidates).toHaveLength(1)
    expect(plan([tried], { freedAt: now - 2000 }).candidates).toHaveLength(0)
    const back = new Map([['site-1', { since: now - 500 }]])
    expect(plan([tried], { sites: back }).candidates).toHaveLength(1)
    const other = new Map([...online('site-1'), ['site-2', { since: now - 500 }] as const])
    expect(plan([tried], { sites: other }).candidates).toHaveLength(0)
  })

  it('gives up after the last try, with its reason, and on broken metadata', () => {
    const tried = job('a', { schedule_count: 10, schedule_history: ['2026: no GPU at site-1'] })
    const broken = job('b', { deploy_map: { a: 3 } })
    const { hopeless, candidates } = plan([tried, broken])
    expect(candidates).toEqual([])
    expect(hopeless.map(({ explanation }) => explanation)).toEqual([
      '10 tries to get resources failed; the last: 2026: no GPU at site-1',
      expect.stringContaining('deploy_map cannot be used'),
    ])
  })

  it('accounts for every submitted job exactly once', () => {
    const jobs = ['a', 'b', 'c', 'd'].map((id, i) =>
      job(id, { min_clients: i, schedule_count: i * 4 }),
    )
    const { candidates, waiting, hopeless } = plan(jobs)
    const ids = [...candidates, ...waiting, ...hopeless].map(({ job: { id } }) => id)
    expect(ids.toSorted()).toEqual(['a', 'b', 'c', 'd'])
  })
})
