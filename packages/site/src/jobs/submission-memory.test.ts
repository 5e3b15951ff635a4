import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, systemClock } from '@hanse/contract'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RememberedUse, SubmissionMemory } from './submission-memory.ts'

const DAY_MS = 86_400_000
const now = Date.now()

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-memory-'))
  path = join(folder, 'submissions.jsonl')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const open = (clock: Clock = systemClock) => SubmissionMemory.open(path, clock)

function use(key: string, job: string, more: Partial<RememberedUse> = {}): RememberedUse {
  return { key, job, submission: key, seals: [`seal of ${key}`], signedAt: now, ...more }
}

describe('a submission', () => {
  it('is taken for one job, as often as that is deployed', async () => {
    await using memory = await open()
    expect(await memory.take(use('s', 'one'))).toBeUndefined()
    expect(await memory.take(use('s', 'one'))).toBeUndefined()
    expect(await memory.take(use('s', 'two'))).toMatchObject({
      reason: 'it was used before, for job one',
    })
  })

  it('is not taken any more once its job has run, unless that did not begin', async () => {
    await using memory = await open()
    await memory.take(use('s', 'one'))
    await memory.setStarted('one', true)
    expect(await memory.take(use('s', 'one'))).toMatchObject({ reason: 'job one ran here before' })
    await memory.setStarted('one', false)
    expect(await memory.take(use('s', 'one'))).toBeUndefined()
  })

  it('cannot take over the name of another job', async () => {
    await using memory = await open()
    await memory.take(use('s', 'one'))
    expect(await memory.take(use('t', 'one'))).toMatchObject({
      reason: 'job one is that of another submission',
    })
    expect(memory.submissionOf('one')).toBe('s')
  })

  it('is given to one of two that want it at once', async () => {
    await using memory = await open()
    const both = await Promise.all([memory.take(use('s', 'one')), memory.take(use('s', 'two'))])
    expect(both.filter((refusal) => refusal === undefined)).toHaveLength(1)
  })
})

describe('a restart', () => {
  it('forgets nothing', async () => {
    {
      await using memory = await open()
      for (const name of ['a', 'b', 'c']) await memory.take(use(name, `job-${name}`))
      await memory.setStarted('job-a', true)
      await memory.setStarted('job-b', true)
      await memory.setStarted('job-b', false)
    }
    for (const _again of [1, 2]) {
      await using memory = await open()
      expect(await memory.take(use('a', 'new'))).toBeDefined()
      expect(await memory.take(use('a', 'job-a'))).toBeDefined()
      expect(await memory.take(use('b', 'job-b'))).toBeUndefined()
      expect(memory.jobSealed(['other', 'seal of c'])).toBe('job-c')
      expect(memory.submissionOf('job-c')).toBe('c')
    }
  })

  it('in the middle of a write loses only what nobody was told', async () => {
    {
      await using memory = await open()
      await memory.take(use('a', 'one'))
    }
    const line = JSON.stringify({ use: use('b', 'two') })
    await appendFile(path, line.slice(0, -5))
    {
      await using memory = await open()
      expect(await memory.take(use('b', 'three'))).toBeUndefined()
    }
    await using memory = await open()
    expect(await memory.take(use('a', 'four'))).toBeDefined()
    expect(await memory.take(use('b', 'four'))).toBeDefined()
  })

  it('forgets what is too old to be taken anyway, and no sooner', async () => {
    {
      await using memory = await open()
      await memory.take(use('old', 'one'))
      await memory.take(use('young', 'two', { signedAt: now + 5 * DAY_MS }))
      await memory.setStarted('one', true)
    }
    const at = (days: number): Clock => ({ ...systemClock, now: () => now + days * DAY_MS })
    {
      await using memory = await open(at(90))
      expect(await memory.take(use('old', 'three'))).toBeDefined()
    }
    await using memory = await open(at(92))
    expect(memory.submissionOf('one')).toBeUndefined()
    expect(memory.submissionOf('two')).toBe('young')
    expect(await readFile(path, 'utf8')).not.toContain('"one"')
  })

  it('does not go on with a file that somebody has damaged', async () => {
    await writeFile(path, '{"use":{}}\n')
    await expect(open()).rejects.toMatchObject({
      code: 'ERR_SITE_CONFIG',
      message: expect.stringContaining('restore it'),
    })
  })
})

describe('what is on the disk', () => {
  it('can always be read again: nothing else is taken', async () => {
    await using memory = await open()
    await expect(memory.take(use('x'.repeat(10_000), 'one'))).rejects.toThrow()
    expect(memory.submissionOf('one')).toBeUndefined()
    await memory.take(use('s', 'one'))
    await using again = await open()
    expect(again.submissionOf('one')).toBe('s')
  })
})
