import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobStore, JsonObject } from '@hanse/contract'
import { createMemoryJobStore } from '@hanse/jobs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openFileJobStore } from './file-job-store.ts'

const meta = (id: string, more: JsonObject = {}): JsonObject => ({
  job_id: id,
  status: 'SUBMITTED',
  ...more,
})

async function* chunks(...texts: string[]) {
  for (const text of texts) yield new TextEncoder().encode(text)
}

async function* failing(text: string) {
  yield new TextEncoder().encode(text)
  throw new Error('the sender is gone')
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const chunk of source) parts.push(chunk)
  return Buffer.concat(parts).toString('utf8')
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'hanse-store-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

interface Opened extends AsyncDisposable {
  readonly store: JobStore
}

async function openFile(): Promise<Opened> {
  const folder = await temporaryFolder()
  const store = await openFileJobStore(join(folder.path, 'jobs'))
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

function openMemory(): Promise<Opened> {
  const store = createMemoryJobStore()
  return Promise.resolve({ store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() })
}

const refusal = (code: string) => expect.objectContaining({ name: 'StoreError', code })

/** What every job store does. */
describe.each([
  ['files', openFile],
  ['memory', openMemory],
] as const)('a job store in %s', (_, open) => {
  it('gives back what was stored, as a snapshot', async () => {
    await using opened = await open()
    const { store } = opened
    const given = { ...meta('j1'), name: 'n', deploy_map: { app: ['@ALL'] } }
    const job = await store.create(given, chunks('zip ', 'octets'))
    expect(job).toMatchObject({ id: 'j1', state: 'SUBMITTED', meta: given })
    expect(await store.get('j1')).toEqual(job)
    expect(await textOf(store.readBlob('j1', 'data'))).toBe('zip octets')
    expect(await store.blobs('j1')).toEqual([{ name: 'data', size: 10 }])
    expect(await store.get('other')).toBeUndefined()
    expect(await store.blobs('other')).toEqual([])
    given.name = 'changed later'
    expect((await store.get('j1'))?.meta['name']).toBe('n')
  })

  it('stores a job once', async () => {
    await using opened = await open()
    const results = await Promise.allSettled(
      ['a', 'b', 'c'].map((text) => opened.store.create(meta('j1'), chunks(text))),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toEqual(refusal('ERR_JOB_EXISTS'))
  })

  it.each([
    [{}, 'ERR_JOB_ID'],
    [{ job_id: '..', status: 'SUBMITTED' }, 'ERR_JOB_ID'],
    [{ job_id: 'a/b', status: 'SUBMITTED' }, 'ERR_JOB_ID'],
    [{ job_id: '', status: 'SUBMITTED' }, 'ERR_JOB_ID'],
    [{ job_id: 'x'.repeat(129), status: 'SUBMITTED' }, 'ERR_JOB_ID'],
    [{ job_id: 'j', status: 'DANCING' }, 'ERR_JOB_META'],
    [{ job_id: 'j' }, 'ERR_JOB_META'],
  ])('refuses the metadata %j', async (bad, code) => {
    await using opened = await open()
    await expect(opened.store.create(bad, chunks('x'))).rejects.toThrow(refusal(code))
    expect(await opened.store.list()).toEqual([])
  })

  it('leaves nothing of an upload that fails, is too large or is cancelled', async () => {
    await using opened = await open()
    const { store } = opened
    await expect(store.create(meta('j1'), failing('x'))).rejects.toThrow('the sender is gone')
    await expect(store.create(meta('j1'), chunks('abc', 'd'), { maxBytes: 3 })).rejects.toThrow(
      refusal('ERR_BLOB_TOO_LARGE'),
    )
    const signal = AbortSignal.abort(new Error('cancelled'))
    await expect(store.create(meta('j1'), chunks('abc'), { signal })).rejects.toThrow('cancelled')
    expect(await store.list()).toEqual([])
    await store.create(meta('j1'), chunks('abc'), { maxBytes: 3 })
  })

  it('lists jobs by the time of submission', async () => {
    await using opened = await open()
    for (const [id, submit_time] of [
      ['c', 2.5],
      ['a', 3],
      ['b', 2.5],
      ['d', 1],
    ] as const)
      await opened.store.create(meta(id, { submit_time }), chunks())
    const ids = (await opened.store.list()).map(({ id }) => id)
    expect(ids).toEqual(['d', 'b', 'c', 'a'])
  })

  it('changes metadata by compare-and-set', async () => {
    await using opened = await open()
    const { store } = opened
    const first = await store.create(meta('j1'), chunks())
    const second = await store.compareAndSet(
      'j1',
      first.revision,
      meta('j1', { status: 'DISPATCHED' }),
    )
    expect(second).toMatchObject({ state: 'DISPATCHED' })
    expect(await store.compareAndSet('j1', first.revision, meta('j1'))).toBeUndefined()
    expect(await store.get('j1')).toEqual(second)
    expect(await store.compareAndSet('x', first.revision, meta('x'))).toBeUndefined()
    await expect(store.compareAndSet('j1', second?.revision ?? '', meta('j2'))).rejects.toThrow(
      refusal('ERR_JOB_META'),
    )
    const same = await store.compareAndSet('j1', second?.revision ?? '', second?.meta ?? {})
    expect(same?.revision).not.toBe(second?.revision)
  })

  it('lets one of many changes win', async () => {
    await using opened = await open()
    const { revision } = await opened.store.create(meta('j1'), chunks())
    const results = await Promise.all(
      Array.from({ length: 10 }, (_unused, n) =>
        opened.store.compareAndSet('j1', revision, meta('j1', { n })),
      ),
    )
    const winners = results.filter((job) => job !== undefined)
    expect(winners).toHaveLength(1)
    expect(await opened.store.get('j1')).toEqual(winners[0])
  })

  it('deletes only what was seen', async () => {
    await using opened = await open()
    const { store } = opened
    const first = await store.create(meta('j1'), chunks('x'))
    const second = await store.compareAndSet('j1', first.revision, meta('j1', { x: 1 }))
    expect(await store.delete('j1', first.revision)).toBe(false)
    expect(await store.delete('j1', second?.revision ?? '')).toBe(true)
    expect(await store.delete('j1', second?.revision ?? '')).toBe(false)
    expect([await store.get('j1'), await store.list()]).toEqual([undefined, []])
    await store.create(meta('j1'), chunks('y'))
    expect(await textOf(store.readBlob('j1', 'data'))).toBe('y')
  })

  it('replaces blobs whole or not at all', async () => {
    await using opened = await open()
    const { store } = opened
    await store.create(meta('j1'), chunks('d'))
    expect(await store.writeBlob('j1', 'workspace', chunks('old'))).toBe(3)
    await expect(store.writeBlob('j1', 'workspace', failing('ne'))).rejects.toThrow('gone')
    await expect(
      store.writeBlob('j1', 'workspace', chunks('too large'), { maxBytes: 4 }),
    ).rejects.toThrow(refusal('ERR_BLOB_TOO_LARGE'))
    expect(await textOf(store.readBlob('j1', 'workspace'))).toBe('old')
    await store.writeBlob('j1', 'LOG_log.txt_site-1', chunks(''))
    expect(await store.blobs('j1')).toEqual([
      { name: 'LOG_log.txt_site-1', size: 0 },
      { name: 'data', size: 1 },
      { name: 'workspace', size: 3 },
    ])
  })

  it('reads an old blob to its end while it is replaced', async () => {
    await using opened = await open()
    const { store } = opened
    await store.create(meta('j1'), chunks('d'))
    const old = 'a'.repeat(300_000)
    await store.writeBlob('j1', 'w', chunks(old))
    const reading = store.readBlob('j1', 'w')[Symbol.asyncIterator]()
    const first = await reading.next()
    await store.writeBlob('j1', 'w', chunks('new'))
    let text = Buffer.from(first.value ?? []).toString()
    for (let next = await reading.next(); next.done !== true; next = await reading.next())
      text += Buffer.from(next.value).toString()
    expect(text).toBe(old)
  })

  it('reads any range', async () => {
    await using opened = await open()
    const { store } = opened
    await store.create(meta('j1'), chunks('0123456789'))
    await fc.assert(
      fc.asyncProperty(fc.nat(12), fc.nat(12), async (start, end) => {
        expect(await textOf(store.readBlob('j1', 'data', { start, end }))).toBe(
          '0123456789'.slice(start, Math.max(start, end)),
        )
      }),
      { numRuns: 40 },
    )
    expect(await textOf(store.readBlob('j1', 'data', { start: 4 }))).toBe('456789')
  })

  it.each(['meta', 'scheduled', 'data', '../x', '.x', 'a/b', '', 'x'.repeat(300)])(
    'refuses to write the blob %j',
    async (name) => {
      await using opened = await open()
      await opened.store.create(meta('j1'), chunks('d'))
      const attempt = async () => opened.store.writeBlob('j1', name, chunks('x'))
      await expect(attempt()).rejects.toThrow(refusal('ERR_BLOB_NAME'))
    },
  )

  it('says what is not there', async () => {
    await using opened = await open()
    const { store } = opened
    await store.create(meta('j1'), chunks('d'))
    await expect(textOf(store.readBlob('x', 'data'))).rejects.toThrow(refusal('ERR_JOB_UNKNOWN'))
    await expect(textOf(store.readBlob('j1', 'w'))).rejects.toThrow(refusal('ERR_BLOB_UNKNOWN'))
    const attempt = async () => store.writeBlob('x', 'w', chunks('d'))
    await expect(attempt()).rejects.toThrow(refusal('ERR_JOB_UNKNOWN'))
  })
})

describe('the folder of jobs', () => {
  it('has the layout of a stock server, and survives a restart', async () => {
    await using folder = await temporaryFolder()
    {
      await using store = await openFileJobStore(folder.path)
      const job = await store.create(meta('j1'), chunks('zip'))
      expect((await readdir(join(folder.path, 'j1'))).toSorted()).toEqual(['data', 'meta'])
      await store.compareAndSet('j1', job.revision, meta('j1', { status: 'RUNNING' }))
      await store.writeBlob('j1', 'workspace', chunks('result'))
    }
    expect((await readdir(join(folder.path, 'j1'))).toSorted()).toEqual([
      ...['data', 'meta', 'scheduled', 'workspace'],
    ])
    expect(JSON.parse(await readFile(join(folder.path, 'j1', 'meta'), 'utf8'))).toEqual(
      meta('j1', { status: 'RUNNING' }),
    )
    expect((await stat(join(folder.path, 'j1', 'data'))).mode & 0o777).toBe(0o600)
    await using again = await openFileJobStore(folder.path)
    expect(await again.get('j1')).toMatchObject({ state: 'RUNNING' })
    expect(await textOf(again.readBlob('j1', 'workspace'))).toBe('result')
  })

  it('never takes a revision of before a restart', async () => {
    await using folder = await temporaryFolder()
    const first = await openFileJobStore(folder.path)
    const { revision } = await first.create(meta('j1'), chunks())
    await first[Symbol.asyncDispose]()
    await using second = await openFileJobStore(folder.path)
    expect(await second.compareAndSet('j1', revision, meta('j1'))).toBeUndefined()
  })

  it('cleans up after a crash and leaves out what it cannot read', async () => {
    await using folder = await temporaryFolder()
    const at = (...parts: string[]) => join(folder.path, ...parts)
    for (const name of ['.new-1', '.deleted-1', 'no-meta', 'bad-json', 'other-id', 'good'])
      await mkdir(at(name))
    for (const name of ['.new-1', 'no-meta', 'bad-json', 'other-id', 'good'])
      await writeFile(at(name, 'data'), 'x')
    await writeFile(at('bad-json', 'meta'), '{"job_id": "bad')
    await writeFile(at('other-id', 'meta'), JSON.stringify(meta('good')))
    await writeFile(at('good', 'meta'), JSON.stringify(meta('good')))
    await writeFile(at('good', '.tmp-1'), 'half')
    await using store = await openFileJobStore(folder.path)
    expect((await store.list()).map(({ id }) => id)).toEqual(['good'])
    expect((await readdir(folder.path)).toSorted()).toEqual([
      ...['bad-json', 'good', 'no-meta', 'other-id'],
    ])
    expect(await readdir(at('good'))).not.toContain('.tmp-1')
    await expect(store.create(meta('bad-json'), chunks('y'))).rejects.toThrow(
      refusal('ERR_JOB_EXISTS'),
    )
    expect(await readFile(at('bad-json', 'data'), 'utf8')).toBe('x')
  })

  it('refuses changes after it was closed', async () => {
    await using folder = await temporaryFolder()
    const store = await openFileJobStore(folder.path)
    await store[Symbol.asyncDispose]()
    await expect(store.create(meta('j1'), chunks())).rejects.toThrow(refusal('ERR_STORE_CLOSED'))
  })
})
