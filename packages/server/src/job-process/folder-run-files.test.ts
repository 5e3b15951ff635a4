import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
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

  it('replaces long files over the pages of the version before the last', async () => {
    const path = join(folder, 'model')
    const inodes: number[] = []
    {
      await using files = folderRunFiles({ folder, custom: 'custom' })
      for (const [round, length] of [3_000_000, 2_000_000, 2_500_000, 2_000_001, 5].entries()) {
        const parts = [new Uint8Array(length - 1).fill(round), Uint8Array.of(100 + round)]
        await files.write('model', parts)
        const content = await readFile(path)
        expect(content.equals(Buffer.concat(parts))).toBe(true)
        inodes.push((await stat(path)).ino)
      }
      expect(inodes[0]).toBe(inodes[2])
      expect(inodes[1]).toBe(inodes[3])
      await files.write('other', [new Uint8Array(2_000_000)])
      await files.write('other', [new Uint8Array(2_000_000)])
    }
    expect((await readdir(folder)).sort()).toEqual(['model', 'other'])
  })

  it('keeps the last whole content when writing fails', async () => {
    await using files = folderRunFiles({ folder, custom: 'custom' })
    const whole = new Uint8Array(2_000_000).fill(1)
    for (let i = 0; i < 3; i++) await files.write('model', [whole])
    const broken = async function* () {
      yield new Uint8Array(1_500_000).fill(2)
      throw new Error('no more')
    }
    await expect(files.write('model', broken())).rejects.toThrow('no more')
    expect((await readFile(join(folder, 'model'))).equals(whole)).toBe(true)
    await files.write('model', [whole.fill(3)])
    expect((await readFile(join(folder, 'model'))).equals(whole)).toBe(true)
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
