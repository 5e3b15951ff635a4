import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { folderRunFiles } from './folder-run-files.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-run-files-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const bytes = (text: string) => new TextEncoder().encode(text)

describe('files of a run', () => {
  it('writes whole files, in parts, and adds to others', async () => {
    const files = folderRunFiles({ folder, custom: 'app_server/custom' })
    await files.write('models/a.bin', [bytes('one'), bytes('two')])
    await files.append('log', bytes('x'))
    await files.append('log', bytes('y'))
    expect(await files.read('models/a.bin')).toEqual(bytes('onetwo'))
    expect(await files.read('log')).toEqual(bytes('xy'))
    expect(await readdir(join(folder, 'models'))).toEqual(['a.bin'])
    expect(await files.read('missing')).toBeUndefined()
    await files.remove('log')
    await files.remove('missing')
    expect(await readdir(folder)).toEqual(['models'])
  })

  it.each(['../out', 'a/../../out', '/etc/passwd', '.', ''])(
    'refuses the path %j',
    async (path) => {
      const files = folderRunFiles({ folder: join(folder, 'inner'), custom: 'custom' })
      await expect(files.write(path, [bytes('x')])).rejects.toThrow(RangeError)
      await expect(files.remove(path)).rejects.toThrow(RangeError)
      await expect(files.read(path)).rejects.toThrow(RangeError)
      await expect(files.readCustom(path)).rejects.toThrow(RangeError)
    },
  )
})
