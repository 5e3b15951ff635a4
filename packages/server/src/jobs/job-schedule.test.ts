import { type JsonObject, type StoredJob, silentLogger } from '@hanse/contract'
import { changeJobState, createMemoryJobStore } from '@hanse/jobs'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { JobSchedule, type StartOutcome } from './job-schedule.ts'

async function* noData(): AsyncGenerator<Uint8Array, void> {}

function setUp(maxJobs = 2) {
  const clock = fakeClock()
  const store = createMemoryJobStore()
  const online = new Map<string, { since: number }>([
    ['a', { since: 0 }],
    ['b', { since: 0 }],
  ])
  const underway = new Set<string>()
  const log: string[] = []
  let freedAt = 0
  let outcome = async (job: StoredJob): Promise<StartOutcome> => {
    await changeJobState(store, job.id, 'DISPATCHED', { now: clock.now() })
    return 'started'
  }
  const schedule = new JobSchedule({
    store,
    clock,
    logger: silentLogger,
    maxJobs,
    online: () => online,
    freedAt: () => freedAt,
    isUnderway: (jobId) => underway.has(jobId),
    async start(job, sites) {
      log.push(`start ${job.id} ${sites.join(' ')}`)
      return outcome(job)
    },
    async giveUp(job, reason) {
      log.push(`give up ${job.id}: ${reason}`)
      await changeJobState(store, job.id, 'FINISHED:CAN_NOT_SCHEDULE', { now: clock.now() })
    },
  })
  const settle = async () => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  let submitted = 0
  return {
    clock,
    store,
    online,
    underway,
    log,
    schedule,
    settle,
    answer(next: (job: StoredJob) => Promise<StartOutcome>) {
      outcome = next
    },
    freed() {
      freedAt = clock.now()
      schedule.wake()
    },
    async submit(id: string, meta: JsonObject = {}) {
      submitted += 1
      await store.create(
        {
          job_id: id,
          status: 'SUBMITTED',
          submit_time: submitted,
          deploy_map: { app: ['@ALL'] },
          min_clients: 1,
          ...meta,
        },
        noData(),
      )
      schedule.wake()
      await settle()
    },
    async wake() {
      schedule.wake()
      await settle()
    },
  }
}

describe('the schedule', () => {
  it('starts as many jobs as may run, the oldest first, and the next when one has ended', async () => {
    const { submit, log, store, clock, wake } = setUp(2)
    for (const id of ['j1', 'j2', 'j3']) await submit(id)
    expect(log).toEqual(['start j1 a b', 'start j2 a b'])
    await wake()
    expect(log).toHaveLength(2)
    await changeJobState(store, 'j1', 'FINISHED:ABORTED', { now: clock.now() })
    await wake()
    expect(log.at(-1)).toBe('start j3 a b')
  })

  it('starts a job that waits for a mandatory site the moment it is there', async () => {
    const { submit, log, online, wake, store } = setUp()
    await submit('j1', { mandatory_clients: ['c'] })
    await wake()
    expect(log).toEqual([])
    online.set('c', { since: 1 })
    await wake()
    expect(log).toEqual(['start j1 a b c'])
    expect((await store.get('j1'))?.meta['schedule_count'] ?? 0).toBe(0)
  })

  it('waits longer after each try without resources, and gives up after ten', async () => {
    const { submit, log, answer, clock, settle, store } = setUp()
    answer(async () => ({ noResource: 'no GPU is free' }))
    await submit('j1')
    expect(log).toEqual(['start j1 a b'])
    const pauses: number[] = []
    for (let tries = 1; tries < 10; tries++) {
      let waited = 0
      while (log.length === tries && waited < 1_000) {
        clock.advance(1_000)
        waited += 1
        await settle()
      }
      pauses.push(waited)
    }
    expect(pauses.slice(0, 4)).toEqual([10, 20, 40, 80])
    clock.advance(600_000)
    await settle()
    expect(log.at(-1)).toMatch(/^give up j1: 10 tries.*no GPU is free/)
    expect((await store.get('j1'))?.state).toBe('FINISHED:CAN_NOT_SCHEDULE')
  })

  it('tries again at once when resources became free', async () => {
    const { submit, log, answer, clock, freed, settle } = setUp()
    answer(async () => ({ noResource: 'no GPU is free' }))
    await submit('j1')
    clock.advance(1_000)
    freed()
    await settle()
    expect(log).toHaveLength(2)
  })

  it('does not try a job again before its last try has been put away', async () => {
    const { submit, log, underway, wake } = setUp()
    underway.add('j1')
    await submit('j1')
    expect(log).toEqual([])
    underway.clear()
    await wake()
    expect(log).toHaveLength(1)
  })

  it('counts no try of a job that was aborted or deleted meanwhile', async () => {
    const { submit, answer, store, clock } = setUp()
    answer(async (job) => {
      await changeJobState(store, job.id, 'FINISHED:ABORTED', { now: clock.now() })
      return { noResource: 'too late' }
    })
    await submit('j1')
    expect((await store.get('j1'))?.meta['schedule_count']).toBeUndefined()
    answer(async () => 'withdrawn')
    await submit('j2')
    expect((await store.get('j2'))?.meta['schedule_count']).toBeUndefined()
  })

  it('looks once more when something changed during a look, and once only', async () => {
    const { submit, log, answer, schedule, settle } = setUp(1)
    const gate = Promise.withResolvers<StartOutcome>()
    answer(() => gate.promise)
    await submit('j1')
    for (let i = 0; i < 5; i++) schedule.wake()
    await settle()
    expect(log).toHaveLength(1)
    answer(async () => ({ noResource: 'x' }))
    gate.resolve({ noResource: 'x' })
    await settle()
    expect(log).toHaveLength(1)
  })

  it('goes on after a fault of the store', async () => {
    const { submit, log, store, wake } = setUp()
    const list = store.list.bind(store)
    store.list = () => Promise.reject(new Error('the disk is gone'))
    await submit('j1')
    store.list = list
    await wake()
    expect(log).toEqual(['start j1 a b'])
  })

  it('does nothing after its end, also when a look is under way', async () => {
    const { schedule, submit, log, store, clock } = setUp()
    const gate = Promise.withResolvers<void>()
    const list = store.list.bind(store)
    store.list = async () => {
      await gate.promise
      return list()
    }
    await submit('j1')
    schedule[Symbol.dispose]()
    gate.resolve()
    await submit('j2')
    expect(log).toEqual([])
    expect(clock.pending).toBe(0)
  })
})
