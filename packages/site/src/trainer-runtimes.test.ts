import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { TrainerRuntime } from '@hanse/provision'
import { expect, it, onTestFinished } from 'vitest'
import { resolveRuntimes } from './trainer-runtimes.ts'

const runtime = (program: string): TrainerRuntime => ({
  program,
  kind: 'other',
  options: ['-x'],
  environment: {},
  read: [],
})

it('finds programs by absolute path or in the search path, and leaves out what is not there', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'hanse-path-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const program = join(folder, 'bin', 'tool')
  await mkdir(join(folder, 'bin'))
  await writeFile(program, '')
  await chmod(program, 0o700)
  await writeFile(join(folder, 'bin', 'text'), '')
  await chmod(join(folder, 'bin', 'text'), 0o600)
  const resolved = resolveRuntimes(
    new Map([
      ['absolute', runtime(program)],
      ['bare', runtime('tool')],
      ['missing', runtime('nothing-of-that-name')],
      ['not executable', runtime('text')],
      ['relative', runtime('../bin/tool')],
      ['node', runtime('node')],
    ]),
    // A relative folder would depend on where the site was started.
    ['.', join(folder, 'none'), join(folder, 'bin')].join(delimiter),
  )
  expect([...resolved].map(([name, { program: found }]) => [name, found])).toEqual([
    ['absolute', program],
    ['bare', program],
    ['node', process.execPath],
  ])
  expect(resolved.get('bare')?.options).toEqual(['-x'])
})
