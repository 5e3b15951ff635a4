import { appendFile, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, systemClock } from '@hanse/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AppendFile } from './append-file.ts'
import { type AuditEvent, type AuditHead, GENESIS } from './audit-entry.ts'
import { createAuditLog, openAuditLog } from './audit-log.ts'
import { readAuditLog } from './read-audit-log.ts'
import { verifyAuditLog } from './verify-audit-log.ts'

const clock: Clock = { ...systemClock, now: () => Date.UTC(2026, 11, 1, 12) }

const event = (act: string, more: Partial<AuditEvent> = {}): AuditEvent => ({
  actor: { name: 'lead@a.org', org: 'a', role: 'lead' },
  act,
  outcome: 'accepted',
  code: 'allowed',
  ...more,
})

const refusal = (code: string) => expect.objectContaining({ name: 'AuditError', code })

async function temporaryFile() {
  const folder = await mkdtemp(join(tmpdir(), 'hanse-audit-'))
  return {
    folder,
    path: join(folder, 'audit.jsonl'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** A record with `count` entries, closed again. */
async function recorded(path: string, count: number): Promise<AuditHead> {
  await using log = await openAuditLog(path, { clock })
  for (let i = 1; i <= count; i++) await log.append(event(`act-${i}`, { job: `job-${i % 2}` }))
  return log.head
}

describe('openAuditLog', () => {
  it('writes one canonical JSON object a line, in the documented form', async () => {
    await using file = await temporaryFile()
    await using log = await openAuditLog(file.path, { clock })
    const entry = await log.append(
      event('submit_job', {
        target: 'site "1"\n[forged]',
        job: 'j1',
        outcome: 'refused',
        code: 'right-not-granted',
        text: 'no',
        facts: { contentHash: 'sha256:00', octets: 12 },
      }),
    )
    const text = await readFile(file.path, 'utf8')
    expect(text).toBe(
      `{"act":"submit_job","actor":{"name":"lead@a.org","org":"a","role":"lead"},"code":"right-not-granted","facts":{"contentHash":"sha256:00","octets":12},"hash":"${entry.hash}","job":"j1","outcome":"refused","prev":"${'0'.repeat(64)}","seq":1,"target":"site \\"1\\"\\n[forged]","text":"no","time":"2026-12-01T12:00:00.000Z","v":1}\n`,
    )
    // Computed outside this program, so that the format cannot drift unnoticed.
    expect(entry.hash).toBe('5a156a7b2cc4e800a547237aa62106fd67c2b91f6a0604eda32e81a8e9561503')
  })

  it('continues the chain after a restart', async () => {
    await using file = await temporaryFile()
    const first = await recorded(file.path, 3)
    const second = await recorded(file.path, 2)
    expect(second.seq).toBe(5)
    expect(await verifyAuditLog(file.path)).toEqual({ ok: true, entries: 5, head: second })
    expect(await verifyAuditLog(file.path, { contains: first })).toMatchObject({ ok: true })
  })

  it('continues another file after a rotation', async () => {
    await using file = await temporaryFile()
    const head = await recorded(file.path, 2)
    await rename(file.path, `${file.path}.1`)
    await using log = await openAuditLog(file.path, { clock }, { after: head })
    expect(await log.append(event('next'))).toMatchObject({ seq: 3, prev: head.hash })
    expect(await verifyAuditLog(file.path, { after: head })).toMatchObject({ ok: true, entries: 1 })
    expect(await verifyAuditLog(file.path)).toMatchObject({ ok: false, code: 'sequence', line: 1 })
  })

  it('gives concurrent events the order in which they came, in few flushes', async () => {
    const { file, log } = inMemory()
    const entries = await Promise.all(
      Array.from({ length: 600 }, (_, i) => log.append(event(`${i}`))),
    )
    expect(entries.map(({ act }) => act)).toEqual(Array.from({ length: 600 }, (_, i) => `${i}`))
    expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1))
    expect(file.flushes).toBeLessThanOrEqual(3)
  })

  it('heals every possible torn last line, and says so', async () => {
    await using file = await temporaryFile()
    await recorded(file.path, 2)
    const whole = await readFile(file.path)
    const secondLine = whole.indexOf('\n') + 1
    for (let length = secondLine + 1; length < whole.length; length += 17) {
      await writeFile(file.path, whole.subarray(0, length))
      expect(await verifyAuditLog(file.path)).toMatchObject({
        ok: false,
        code: 'incomplete',
        line: 2,
        seq: 2,
      })
      {
        await using log = await openAuditLog(file.path, { clock })
        expect(log.head.seq).toBe(2)
      }
      const verdict = await verifyAuditLog(file.path)
      expect(verdict).toMatchObject({ ok: true, entries: 2 })
      const [healing] = await listed(readAuditLog(file.path, { act: 'audit.heal' }))
      expect(healing).toMatchObject({
        seq: 2,
        code: 'incomplete-entry',
        facts: { octets: length - secondLine, file: '.torn-2' },
      })
    }
    const torn = (await readdir(file.folder)).filter((name) => name.includes('torn'))
    expect(torn).toEqual(['audit.jsonl.torn-2'])
  })

  it('refuses to continue a record that does not verify, and leaves it alone', async () => {
    await using file = await temporaryFile()
    await recorded(file.path, 3)
    const text = (await readFile(file.path, 'utf8')).replace('act-2', 'act-x')
    await writeFile(file.path, text)
    await expect(openAuditLog(file.path, { clock })).rejects.toThrow(refusal('ERR_AUDIT_BROKEN'))
    expect(await readFile(file.path, 'utf8')).toBe(text)
  })

  it('notices another writer, and a file that was replaced', async () => {
    await using file = await temporaryFile()
    await using log = await openAuditLog(file.path, { clock })
    await log.append(event('a'))
    await appendFile(file.path, '{}\n')
    await expect(log.append(event('b'))).rejects.toThrow(refusal('ERR_AUDIT_FOREIGN_WRITE'))
    await rm(file.path)
    await expect(log.append(event('c'))).rejects.toThrow(refusal('ERR_AUDIT_FOREIGN_WRITE'))
  })

  it('records nothing of a failed write and goes on after it', async () => {
    const { file, log } = inMemory()
    await log.append(event('a'))
    file.failNext = 'after-half'
    await expect(log.append(event('lost'))).rejects.toThrow(refusal('ERR_AUDIT_WRITE'))
    expect(log.head.seq).toBe(1)
    expect(await log.append(event('b'))).toMatchObject({ seq: 2 })
    expect(file.text.split('\n').filter(Boolean)).toHaveLength(2)
    expect(file.text).not.toContain('lost')
  })

  it('refuses more than it can hold, and events after closing', async () => {
    const { log } = inMemory({ maxWaiting: 1 })
    const first = log.append(event('a'))
    await expect(log.append(event('b'))).rejects.toThrow(refusal('ERR_AUDIT_OVERLOAD'))
    await first
    const last = log.append(event('c'))
    await log[Symbol.asyncDispose]()
    expect((await last).seq).toBe(2)
    await expect(log.append(event('d'))).rejects.toThrow(refusal('ERR_AUDIT_CLOSED'))
  })

  it('refuses facts that name a secret, without stopping the others', async () => {
    const { log } = inMemory()
    const results = await Promise.allSettled([
      log.append(event('a', { facts: { loginToken: 'x' } })),
      log.append(event('b', { facts: { 'bad key': 'x' } })),
      log.append(event('c', { facts: { size: Number.NaN } })),
      log.append(event('d', { text: '-----BEGIN RSA PRIVATE KEY-----\nMII' })),
      log.append(event('e', { text: 'x'.repeat(5000) })),
    ])
    expect(results.map(({ status }) => status)).toEqual([
      ...['rejected', 'rejected', 'rejected'],
      ...['fulfilled', 'fulfilled'],
    ])
    const [, , , secret, long] = results
    expect(secret).toMatchObject({ value: { seq: 1, text: '[redacted]' } })
    expect(long?.status === 'fulfilled' && long.value.text.length).toBeLessThanOrEqual(1000)
  })

  it('keeps whatever texts come, and the chain with them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ act: fc.string({ unit: 'binary' }), text: fc.string() }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.string({ unit: 'binary', maxLength: 2000 }),
        async (acts, name) => {
          await using file = await temporaryFile()
          {
            await using log = await openAuditLog(file.path, { clock })
            for (const { act, text } of acts)
              await log.append(event(act, { text, actor: { name: `${name}\ud800` }, target: act }))
          }
          expect(await verifyAuditLog(file.path)).toMatchObject({ ok: true, entries: acts.length })
        },
      ),
      { numRuns: 30 },
    )
  })
})

describe('verifyAuditLog', () => {
  it('finds a change of any octet, at the entry where it is', async () => {
    await using file = await temporaryFile()
    await recorded(file.path, 3)
    const whole = await readFile(file.path)
    const ends = [...whole.keys()].filter((at) => whole[at] === 0x0a)
    const changed = join(file.folder, 'changed')
    await fc.assert(
      fc.asyncProperty(
        fc.nat(whole.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, by) => {
          const bytes = Buffer.from(whole)
          bytes[at] = (bytes[at] ?? 0) ^ by
          await writeFile(changed, bytes)
          const line = ends.filter((end) => end < at).length + 1
          expect(await verifyAuditLog(changed)).toMatchObject({ ok: false, line, seq: line })
        },
      ),
      { numRuns: 400 },
    )
  })

  it.each([
    ['an entry removed', (lines: string[]) => lines.toSpliced(1, 1), 2, 'sequence'],
    ['an entry twice', (lines: string[]) => lines.toSpliced(1, 0, lines[0] ?? ''), 2, 'sequence'],
    ['entries exchanged', ([a = '', b = '', c = '']: string[]) => [a, c, b], 2, 'sequence'],
    ['an empty line', (lines: string[]) => lines.toSpliced(1, 0, ''), 2, 'unreadable'],
    ['white space', ([a = '', ...rest]: string[]) => [a, ` ${rest[0]}`], 2, 'unreadable'],
    [
      'a later version',
      ([a = '', b = '']: string[]) => [a, b.replace('"v":1', '"v":2')],
      2,
      'unknown-version',
    ],
    [
      'a new field',
      ([a = '', b = '']: string[]) => [a, b.replace('"v":1', '"v":1,"w":1')],
      2,
      'unreadable',
    ],
    [
      'a key given twice',
      ([a = '', b = '']: string[]) => [a, b.replace('{', '{"act":"x",')],
      2,
      'unreadable',
    ],
  ] as const)('finds %s', async (_, change, line, code) => {
    await using file = await temporaryFile()
    await recorded(file.path, 3)
    const lines = (await readFile(file.path, 'utf8')).trimEnd().split('\n')
    await writeFile(file.path, `${change(lines).join('\n')}\n`)
    expect(await verifyAuditLog(file.path)).toMatchObject({ ok: false, line, code })
  })

  it('finds entries that were cut off, and a rewritten record, by a head noted elsewhere', async () => {
    await using file = await temporaryFile()
    const head = await recorded(file.path, 3)
    const lines = (await readFile(file.path, 'utf8')).trimEnd().split('\n')
    await writeFile(file.path, `${lines.slice(0, 2).join('\n')}\n`)
    expect(await verifyAuditLog(file.path)).toMatchObject({ ok: true, entries: 2 })
    expect(await verifyAuditLog(file.path, { contains: head })).toMatchObject({
      ok: false,
      code: 'head',
      seq: 3,
    })
    await rm(file.path)
    {
      await using log = await openAuditLog(file.path, { clock })
      for (let i = 0; i < 4; i++) await log.append(event('another history'))
    }
    expect(await verifyAuditLog(file.path, { contains: head })).toMatchObject({
      ok: false,
      code: 'head',
      line: 3,
    })
  })

  it('reads a line of any length with bounded memory', async () => {
    await using file = await temporaryFile()
    await writeFile(file.path, 'x'.repeat(1_000_000))
    expect(await verifyAuditLog(file.path)).toMatchObject({ ok: false, code: 'too-long', line: 1 })
    await writeFile(file.path, `${'x'.repeat(200_000)}\n`)
    expect(await verifyAuditLog(file.path)).toMatchObject({ ok: false, code: 'too-long', line: 1 })
  })

  it('accepts an empty record and says what it cannot read', async () => {
    await using file = await temporaryFile()
    await expect(verifyAuditLog(file.path)).rejects.toThrow(refusal('ERR_AUDIT_READ'))
    await writeFile(file.path, '')
    expect(await verifyAuditLog(file.path)).toEqual({ ok: true, entries: 0, head: GENESIS })
  })
})

describe('readAuditLog', () => {
  it('filters by every field', async () => {
    await using file = await temporaryFile()
    await recorded(file.path, 6)
    const acts = async (filter: Parameters<typeof readAuditLog>[1]) =>
      (await listed(readAuditLog(file.path, filter))).map(({ act }) => act)
    expect(await acts({ job: 'job-0' })).toEqual(['act-2', 'act-4', 'act-6'])
    expect(await acts({ fromSeq: 5 })).toEqual(['act-5', 'act-6'])
    expect(await acts({ act: 'act-3', outcome: 'accepted', code: 'allowed' })).toEqual(['act-3'])
    expect(await acts({ outcome: 'refused' })).toEqual([])
    expect(await acts({ actor: 'nobody' })).toEqual([])
    expect(await acts({ since: clock.now() + 1 })).toEqual([])
    expect(await acts({ until: clock.now() })).toEqual([])
  })
})

/** A log over a file that can fail. */
function inMemory(options: { maxWaiting?: number } = {}) {
  const file = {
    text: '',
    size: 0,
    flushes: 0,
    failNext: undefined as 'after-half' | undefined,
    append(text: string) {
      if (file.failNext === 'after-half') {
        file.failNext = undefined
        file.text += text.slice(0, text.length / 2)
        return Promise.reject(new Error('no space left'))
      }
      file.text += text
      file.size = file.text.length
      file.flushes++
      return Promise.resolve()
    },
    rollback() {
      file.text = file.text.slice(0, file.size)
      return Promise.resolve()
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  } satisfies AppendFile & Record<string, unknown>
  return { file, log: createAuditLog(file, { clock }, GENESIS, options) }
}

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}
