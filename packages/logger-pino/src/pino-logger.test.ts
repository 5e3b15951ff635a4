import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { problemsInLog } from './log-problems.ts'
import { createPinoLogger } from './pino-logger.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-log-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('writes one readable line a call, with the fields of its parents', async () => {
  const destination = join(folder, 'log.jsonl')
  const logger = createPinoLogger({ level: 'info', destination })
  logger.debug('too low')
  logger.child({ job: 'j1' }).warn('slow', { site: 'a', error: new Error('x') })
  const [line, ...rest] = (await readFile(destination, 'utf8')).trim().split('\n')
  expect(rest).toEqual([])
  expect(JSON.parse(line!)).toMatchObject({
    level: 'warn',
    message: 'slow',
    job: 'j1',
    site: 'a',
    error: { type: 'Error', message: 'x' },
  })
  expect((await stat(destination)).mode & 0o777).toBe(0o600)
})

it('changes its level for itself and its children', async () => {
  const destination = join(folder, 'log.jsonl')
  const logger = createPinoLogger({ level: 'warn', destination })
  const child = logger.child({ job: 'j1' })
  child.info('unheard')
  logger.setLevel('debug')
  child.debug('heard')
  logger.setLevel('silent')
  logger.error('unheard too')
  expect((await readFile(destination, 'utf8')).match(/"message":"[^"]*"/g)).toEqual([
    '"message":"heard"',
  ])
})

it('never fills the disk: old files go, and no line is cut', async () => {
  const destination = join(folder, 'log.jsonl')
  const maxFileBytes = 1_000
  const logger = createPinoLogger({ level: 'info', destination, maxFileBytes })
  for (let i = 0; i < 100; i++) logger.info(`line ${i}`, { text: 'x'.repeat(50) })
  const files = (await readdir(folder)).toSorted()
  expect(files).toEqual(['log.jsonl', ...[1, 2, 3, 4].map((age) => `log.jsonl.${age}`)])
  const found: string[] = []
  for (const file of files.toReversed()) {
    const text = await readFile(join(folder, file), 'utf8')
    expect(text.length).toBeLessThanOrEqual(maxFileBytes)
    expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600)
    for (const line of text.trim().split('\n')) found.push(JSON.parse(line).message)
  }
  // The oldest file first, since `log.jsonl.4` sorts last.
  expect(found).toEqual(
    Array.from({ length: found.length }, (_, i) => `line ${100 - found.length + i}`),
  )
  expect(found.length).toBeGreaterThan(20)
})

it('goes on with a file that is there, and puts it aside when it is full', async () => {
  const destination = join(folder, 'log.jsonl')
  createPinoLogger({ level: 'info', destination, maxFileBytes: 300 }).info('first')
  const logger = createPinoLogger({ level: 'info', destination, maxFileBytes: 300 })
  logger.info('second')
  expect((await readFile(destination, 'utf8')).trim().split('\n')).toHaveLength(2)
  logger.info('third', { text: 'x'.repeat(200) })
  expect(await readdir(folder)).toEqual(['log.jsonl', 'log.jsonl.1'])
})

it('reads its own warnings and errors back, and nothing else', async () => {
  const destination = join(folder, 'log.jsonl')
  const logger = createPinoLogger({ level: 'info', destination })
  logger.info('fine')
  logger.warn('slow')
  logger.error('broken', { error: new Error('x') })
  const text = `${await readFile(destination, 'utf8')}not json "level":"error"\n{"level":"error"}\n`
  const problems = problemsInLog(text)
  expect(problems).toMatchObject([
    { level: 'warn', message: 'slow' },
    { level: 'error', message: 'broken' },
  ])
  expect(problemsInLog(text, Date.parse(problems[1]!.time))).toEqual([])
})
