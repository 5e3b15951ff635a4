import { JOB_STATES, type JobState, type JobStore, type JsonObject } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  abandonActiveJobs,
  changeJobState,
  deleteJob,
  formatDuration,
  setJobMeta,
} from './change-job.ts'
import { canFollow, isActive, isTerminal } from './job-state.ts'
import { createMemoryJobStore } from './memory-job-store.ts'
import { cloneJobMeta, newJobMeta } from './new-job.ts'
import type { ValidJob } from './validate-job.ts'

const now = Date.UTC(2026, 11, 1)

const addJob = (
  store: JobStore,
  id: string,
  status: JobState = 'SUBMITTED',
  more: JsonObject = {},
) => store.create({ job_id: id, status, ...more }, (async function* () {})())

describe('job states', () => {
  it('let a job go only where the table of the specification says', () => {
    const table: Record<string, string> = {
      SUBMITTED: 'DISPATCHED ABORTED CAN_NOT_SCHEDULE FAILED_TO_RUN',
      DISPATCHED: 'RUNNING ABORTED FAILED_TO_RUN ABANDONED',
      RUNNING: 'COMPLETED ABORTED EXECUTION_EXCEPTION ABNORMAL ABANDONED',
    }
    for (const from of JOB_STATES)
      for (const to of JOB_STATES)
        expect([from, to, canFollow(from, to)]).toEqual([
          from,
          to,
          (table[from] ?? '').split(' ').includes(to.replace('FINISHED:', '')),
        ])
    expect(JOB_STATES.filter(isTerminal)).toEqual(
      JOB_STATES.filter((s) => s.startsWith('FINISHED:')),
    )
    expect(JOB_STATES.filter(isActive)).toEqual(['DISPATCHED', 'RUNNING'])
  })

  it('follow a model, whoever asks for what and in which order', async () => {
    const to = fc.constantFrom(...JOB_STATES)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(to, { maxLength: 3 }), { maxLength: 8 }),
        async (rounds) => {
          const store = createMemoryJobStore()
          await addJob(store, 'j')
          let model: JobState = 'SUBMITTED'
          for (const wishes of rounds) {
            // All of a round at once: compare-and-set puts them into some order.
            const changes = await Promise.all(
              wishes.map((state) => changeJobState(store, 'j', state, { now })),
            )
            let winners = changes.flatMap((change) => (change.changed ? [change.job.state] : []))
            while (winners.length > 0) {
              const current: JobState = model
              const next: JobState | undefined = winners.find((state) => canFollow(current, state))
              expect(next).toBeDefined()
              if (next === undefined) return
              winners = winners.toSpliced(winners.indexOf(next), 1)
              model = next
            }
            expect((await store.get('j'))?.state).toBe(model)
          }
        },
      ),
    )
  })
})

describe('changeJobState', () => {
  it('keeps the times that stock keeps', async () => {
    const store = createMemoryJobStore()
    await addJob(store, 'j')
    await changeJobState(store, 'j', 'DISPATCHED', { now, set: { job_deploy_detail: ['s: OK'] } })
    await changeJobState(store, 'j', 'RUNNING', { now })
    const change = await changeJobState(store, 'j', 'FINISHED:ABORTED', {
      now: now + 41_123,
      reason: 'lead@a.org aborted it',
    })
    expect(change.job?.meta).toEqual({
      job_id: 'j',
      status: 'FINISHED:ABORTED',
      job_deploy_detail: ['s: OK'],
      start_time: '2026-12-01T00:00:00.000Z',
      duration: '0:00:41.123000',
      reason: 'lead@a.org aborted it',
    })
  })

  it('leaves a job alone that is elsewhere or unknown', async () => {
    const store = createMemoryJobStore()
    await addJob(store, 'j', 'DISPATCHED')
    expect(
      await changeJobState(store, 'j', 'FINISHED:ABORTED', { now, from: ['SUBMITTED'] }),
    ).toMatchObject({ changed: false, job: { state: 'DISPATCHED' } })
    expect(await changeJobState(store, 'x', 'RUNNING', { now })).toEqual({
      changed: false,
      job: undefined,
    })
  })

  it('lets one of many win', async () => {
    const store = createMemoryJobStore()
    await addJob(store, 'j')
    const changes = await Promise.all(
      Array.from({ length: 20 }, () => changeJobState(store, 'j', 'DISPATCHED', { now })),
    )
    expect(changes.filter(({ changed }) => changed)).toHaveLength(1)
  })

  it('does not let other keys change the state', async () => {
    const store = createMemoryJobStore()
    await addJob(store, 'j')
    const change = await setJobMeta(store, 'j', { status: 'RUNNING', x: 1 })
    expect(change.job).toMatchObject({ state: 'SUBMITTED', meta: { x: 1, status: 'SUBMITTED' } })
  })

  it('gives up on a job that changes for ever', async () => {
    const store = createMemoryJobStore()
    await addJob(store, 'j')
    const contended: JobStore = Object.assign(Object.create(store), {
      get: (id: string) => store.get(id),
      compareAndSet: () => Promise.resolve(undefined),
    })
    await expect(changeJobState(contended, 'j', 'DISPATCHED', { now })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_JOB_CONTENDED' }),
    )
  })
})

describe('abandonActiveJobs', () => {
  it('gives up what was running, with a reason, and nothing else', async () => {
    const store = createMemoryJobStore()
    for (const state of JOB_STATES) await addJob(store, state.replace(':', '-'), state)
    const abandoned = await abandonActiveJobs(store, { now })
    expect(abandoned.map(({ id }) => id).toSorted()).toEqual(['DISPATCHED', 'RUNNING'])
    expect((await store.get('RUNNING'))?.meta).toMatchObject({
      status: 'FINISHED:ABANDONED',
      reason: expect.stringContaining('while the job was RUNNING'),
    })
    expect((await store.get('SUBMITTED'))?.state).toBe('SUBMITTED')
    expect(await abandonActiveJobs(store, { now })).toEqual([])
  })
})

describe('deleteJob', () => {
  it('refuses running jobs only', async () => {
    const store = createMemoryJobStore()
    for (const state of JOB_STATES) {
      await addJob(store, 'j', state)
      const result = await deleteJob(store, 'j')
      expect([state, result.deleted]).toEqual([state, !isActive(state)])
      if (!result.deleted) {
        expect(result.code).toBe('job-running')
        const job = await store.get('j')
        await store.delete('j', job?.revision ?? '')
      }
    }
    expect(await deleteJob(store, 'j')).toMatchObject({ code: 'job-unknown' })
  })
})

describe('metadata of new jobs', () => {
  const valid: ValidJob = {
    folder: 'hello',
    name: 'Hello',
    meta: {
      deploy_map: { app: ['@ALL'] },
      scope: 'private',
      launcher_spec: {},
      custom_props: { a: 1 },
    },
    deployMap: { kind: 'all', app: 'app' },
    minClients: 1,
    mandatoryClients: [],
    scope: 'private',
    byoc: true,
    apps: new Map(),
    contentHash: 'sha256:00',
  }
  const facts = {
    id: 'id-1',
    submitter: { name: 'lead@a.org', org: 'a', role: 'lead' },
    study: 'default',
    now: now + 500,
  }

  it("has stock's keys", () => {
    expect(newJobMeta(valid, facts)).toMatchObject({
      job_id: 'id-1',
      name: 'Hello',
      job_folder_name: 'hello',
      status: 'SUBMITTED',
      submit_time: now / 1000 + 0.5,
      submit_time_iso: '2026-12-01T00:00:00.500Z',
      submitter_name: 'lead@a.org',
      start_time: '',
      duration: 'N/A',
      byoc: true,
      data_storage_format: 2,
    })
  })

  it('keeps of a clone what decides how it runs, and nothing of its run', () => {
    const source = {
      id: 'id-0',
      state: 'FINISHED:ABORTED' as const,
      revision: '1',
      meta: {
        ...newJobMeta(valid, facts),
        status: 'FINISHED:ABORTED',
        job_clients: [],
        start_time: 'x',
        schedule_count: 3,
      },
    }
    const clone = cloneJobMeta(source, {
      ...facts,
      id: 'id-1',
      submitter: { name: 'b', org: 'b', role: 'lead' },
    })
    expect(clone).toMatchObject({
      cloned_from: 'id-0',
      job_id: 'id-1',
      submitter_name: 'b',
      scope: 'private',
      launcher_spec: {},
      custom_props: { a: 1 },
      status: 'SUBMITTED',
      start_time: '',
      schedule_count: 0,
      byoc: true,
    })
    expect(clone).not.toHaveProperty('job_clients')
  })
})

it.each([
  [0, '0:00:00'],
  [41_123, '0:00:41.123000'],
  [3_725_000, '1:02:05'],
  [86_400_000, '1 day, 0:00:00'],
  [2 * 86_400_000 + 1, '2 days, 0:00:00.001000'],
  [-5, '0:00:00'],
])('%i ms are printed as Python does', (durationMs, text) => {
  expect(formatDuration(durationMs)).toBe(text)
})
