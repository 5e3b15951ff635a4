import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
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
