import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { fileSpools } from './file-spool.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-spool-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('gives back ranges of what was added, and deletes it', async () => {
  const spools = fileSpools(join(folder, 'spool'))
  {
    await using spool = await spools.create('a')
    await using other = await spools.create('a')
    await spool.append(Uint8Array.of(1, 2, 3))
    await other.append(Uint8Array.of(9))
    await spool.append(Uint8Array.of(4, 5))
    expect(await spool.read(1, 3)).toEqual(Uint8Array.of(2, 3, 4))
    expect(await spool.read(5, 0)).toEqual(new Uint8Array())
    await expect(spool.read(4, 2)).rejects.toThrow('the spool has 5')
    await expect(spool.read(-1, 1)).rejects.toThrow(RangeError)
  }
  expect(await readdir(join(folder, 'spool'))).toEqual([])
})
