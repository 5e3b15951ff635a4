import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { type RunFile, readRunFile, writeRunFile } from './run-file.ts'

const run: RunFile = {
  jobId: 'j1',
  jobName: 'job',
  project: 'league',
  participants: [{ name: 'site-1', cell: 'site-1' }],
  minSites: 1,
  mandatorySites: [],
  graceSeconds: 15,
  filters: [],
  logLevel: 'info',
}

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hanse-run-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

it('brings to the process what its server wrote, for nobody else to read', async () => {
  const folder = await emptyFolder()
  await writeRunFile(folder, run)
  expect(await readRunFile(folder)).toEqual(run)
  expect((await stat(join(folder, 'run.json'))).mode & 0o777).toBe(0o600)
})

it.each<[string, object]>([
  ['something unknown', { ...run, token: 'x' }],
  ['no participants', { ...run, participants: undefined }],
  ['no site at all', { ...run, minSites: 0 }],
])('is refused with %s', async (_what, content) => {
  const folder = await emptyFolder()
  await writeFile(join(folder, 'run.json'), JSON.stringify(content))
  await expect(readRunFile(folder)).rejects.toThrow()
})
