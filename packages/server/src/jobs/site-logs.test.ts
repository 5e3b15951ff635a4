import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JobStore, silentLogger } from '@hanse/contract'
import { createMemoryJobStore } from '@hanse/jobs'
import type { ObjectStreamConsumer, ObjectStreamOffer } from '@hanse/session'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SiteLogs } from './site-logs.ts'

const JOB = 'j1'
let folder: string
let store: JobStore
let logs: SiteLogs
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-site-logs-'))
  store = createMemoryJobStore()
  await store.create({ job_id: JOB, status: 'SUBMITTED' }, (async function* () {})())
  logs = await SiteLogs.open({
    store,
    logger: silentLogger,
    folder,
    siteOf: ({ origin }) => (origin.startsWith('_') ? undefined : origin.split('.')[0]),
    membersOf: async (jobId) => (jobId === JOB ? ['site-1'] : []),
  })
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function offer(more: Partial<Record<'origin' | 'channel' | 'name' | 'job', string>> = {}) {
  const { origin = `site-1.${JOB}`, channel = 'log_streaming', name = 'error_log.txt' } = more
  return {
    origin,
    channel,
    topic: 'live_log',
    context: new Map([['Streamer.file_name', name]]),
    request: { peerProperties: new Map([['__run_num__', more.job ?? '']]) },
  } as unknown as ObjectStreamOffer // what is looked at
}

async function consumer(given: ObjectStreamOffer): Promise<ObjectStreamConsumer> {
  const decision = await logs.take(given)
  if (decision === undefined || 'refusal' in decision) throw new Error(JSON.stringify(decision))
  return decision
}

async function kept(name: string): Promise<string> {
  let text = ''
  for await (const part of store.readBlob(JOB, name)) text += new TextDecoder().decode(part)
  return text
}

const bytes = (text: string) => new TextEncoder().encode(text)

describe('logs that sites send', () => {
  it('become parts of their job, also when the site broke off', async () => {
    const whole = await consumer(offer())
    await whole.take(bytes('one\n'))
    await whole.take(bytes('two\n'))
    await whole.finish()
    expect(await kept('ERRORLOG_site-1')).toBe('one\ntwo\n')
    // A site sends it after the end, from its own cell.
    const broken = await consumer(offer({ origin: 'site-1', job: JOB, name: 'log.txt' }))
    await broken.take(bytes('last words'))
    await broken.abandon('the link is gone')
    expect(await kept('LOG_log.txt_site-1')).toBe('last words')
    expect(await readdir(folder)).toEqual([])
  })

  it('are kept from their end when they are long', async () => {
    const log = await consumer(offer())
    const piece = new Uint8Array(1024 * 1024)
    for (let i = 0; i < 12; i++) await log.take(piece.fill(65 + i))
    await log.finish()
    const text = await kept('ERRORLOG_site-1')
    expect(text.length).toBeLessThanOrEqual(10 * 1024 * 1024)
    expect(text.at(-1)).toBe('L')
  })

  it('that are empty leave nothing', async () => {
    await (await consumer(offer())).finish()
    expect((await store.blobs(JOB)).map(({ name }) => name)).not.toContain('ERRORLOG_site-1')
  })

  it.each([
    ['a person', offer({ origin: '_admin_1' })],
    ['a site that is not in the job', offer({ origin: `site-2.${JOB}` })],
    ['a job that is none', offer({ origin: 'site-1', job: '../../x' })],
    ['a job of others', offer({ origin: 'site-1', job: 'j2' })],
    ['another file', offer({ name: '../startup/server.key' })],
  ])('are refused: %s', async (_what, given) => {
    expect(await logs.take(given)).toEqual({ refusal: expect.any(String) })
    expect(await readdir(folder)).toEqual([])
  })

  it('are told from other streams', async () => {
    expect(await logs.take(offer({ channel: 'hci.upload' }))).toBeUndefined()
  })
})
