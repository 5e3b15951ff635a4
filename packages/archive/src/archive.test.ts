import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import type { ArchiveLimits } from './archive-limits.ts'
import { type ArchiveMember, memberOf } from './archive-member.ts'
import { extractArchive } from './extract-archive.ts'
import { folderMembers } from './folder-members.ts'
import { openArchive } from './open-archive.ts'
import { writeArchive } from './write-archive.ts'

async function collected(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await listed(chunks))
}

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'hanse-archive-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

interface RawEntry {
  name: string | Uint8Array
  content?: string | Uint8Array
  mode?: number
  method?: number
  flags?: number
  /** What the headers claim, if not the truth. */
  declaredSize?: number
  declaredCrc?: number
  extra?: Uint8Array
}

/** A zip by hand, so that it can lie. */
function rawZip(entries: RawEntry[]): Uint8Array {
  const locals: Buffer[] = []
  const centrals: Buffer[] = []
  let offset = 0
  for (const entry of entries) {
    const name = Buffer.from(entry.name as string)
    const content = Buffer.from((entry.content ?? '') as string)
    const method = entry.method ?? 0
    const data = method === 8 ? deflateRawSync(content) : content
    const extra = Buffer.from(entry.extra ?? [])
    const shared = Buffer.alloc(26)
    shared.writeUInt16LE(20, 0)
    shared.writeUInt16LE(entry.flags ?? 0x0800, 2)
    shared.writeUInt16LE(method, 4)
    shared.writeUInt32LE(entry.declaredCrc ?? crc32(content), 10)
    shared.writeUInt32LE(data.length, 14)
    shared.writeUInt32LE(entry.declaredSize ?? content.length, 18)
    shared.writeUInt16LE(name.length, 22)
    shared.writeUInt16LE(extra.length, 24)
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), shared, name, extra, data])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE((entry.mode ?? 0o100644) * 0x1_00_00, 6)
    tail.writeUInt32LE(offset, 10)
    centrals.push(
      Buffer.concat([Buffer.from('PK\x01\x02\x2d\x03', 'latin1'), shared, tail, name, extra]),
    )
    locals.push(local)
    offset += local.length
  }
  const central = Buffer.concat(centrals)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(central.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, central, end])
}

const refusal = (code: string) => expect.objectContaining({ name: 'ArchiveError', code })

describe('openArchive', () => {
  it('accepts what the hand-made archives are made like', async () => {
    await using archive = await openArchive(
      rawZip([
        { name: 'job/', mode: 0o40755 },
        { name: 'job/meta.json', content: '{}' },
        { name: 'job/ä/deep.txt', content: 'x'.repeat(5000), method: 8 },
      ]),
    )
    expect([...archive.files.keys()]).toEqual(['job/meta.json', 'job/ä/deep.txt'])
    expect([...archive.folders]).toEqual(['job', 'job/ä'])
    const text = await archive.readWhole('job/ä/deep.txt', 5000)
    expect(Buffer.from(text).toString()).toBe('x'.repeat(5000))
  })

  const link = 0o120777
  const latin1 = Buffer.from('caf\xe9', 'latin1')
  const cases: [string, RawEntry[], string, Partial<ArchiveLimits>?][] = [
    ['an absolute name', [{ name: '/etc/passwd' }], 'ERR_ARCHIVE_NAME'],
    ['a climbing name', [{ name: 'a/../../b' }], 'ERR_ARCHIVE_NAME'],
    ['a name that is ..', [{ name: '..' }], 'ERR_ARCHIVE_NAME'],
    ['a climbing folder', [{ name: '../', mode: 0o40755 }], 'ERR_ARCHIVE_NAME'],
    ['a backslash', [{ name: 'a\\..\\b' }], 'ERR_ARCHIVE_NAME'],
    ['a backslash in front', [{ name: '\\a' }], 'ERR_ARCHIVE_NAME'],
    ['a drive', [{ name: 'C:/x' }], 'ERR_ARCHIVE_NAME'],
    ['an empty part', [{ name: 'a//b' }], 'ERR_ARCHIVE_NAME'],
    ['a part that is a dot', [{ name: './a' }], 'ERR_ARCHIVE_NAME'],
    ['a control character', [{ name: 'a\nb' }], 'ERR_ARCHIVE_NAME'],
    ['a NUL', [{ name: 'a\0.txt' }], 'ERR_ARCHIVE_NAME'],
    ['an empty name', [{ name: '' }], 'ERR_ARCHIVE_NAME'],
    ['a name of unknown encoding', [{ name: latin1, flags: 0 }], 'ERR_ARCHIVE_NAME'],
    ['a name that is not UTF-8', [{ name: latin1 }], 'ERR_ARCHIVE_NAME'],
    ['a duplicate', [{ name: 'a' }, { name: 'a' }], 'ERR_ARCHIVE_NAME'],
    ['names that differ in case', [{ name: 'a/x' }, { name: 'A/y' }], 'ERR_ARCHIVE_NAME'],
    ['names that differ in form', [{ name: '\u00e9' }, { name: 'e\u0301' }], 'ERR_ARCHIVE_NAME'],
    ['a file that is a folder', [{ name: 'a' }, { name: 'a/b' }], 'ERR_ARCHIVE_NAME'],
    [
      'a file and a folder entry',
      [{ name: 'a/', mode: 0o40755 }, { name: 'a' }],
      'ERR_ARCHIVE_NAME',
    ],
    [
      'a second name in an extra field',
      [{ name: 'a', extra: Buffer.from('7570060001000000006263'.slice(0, 20), 'hex') }],
      'ERR_ARCHIVE_NAME',
    ],
    ['a symbolic link', [{ name: 'a', content: '/etc/passwd', mode: link }], 'ERR_ARCHIVE_LINK'],
    ['a folder that is a link', [{ name: 'a/', mode: link }], 'ERR_ARCHIVE_LINK'],
    ['a device', [{ name: 'a', mode: 0o020666 }], 'ERR_ARCHIVE_LINK'],
    ['a file whose mode is a folder', [{ name: 'a', mode: 0o040755 }], 'ERR_ARCHIVE_LINK'],
    [
      'an encrypted entry',
      [{ name: 'a', content: 'x', flags: 1, method: 8 }],
      'ERR_ARCHIVE_METHOD',
    ],
    ['strong encryption', [{ name: 'a', content: 'x', flags: 0x41 }], 'ERR_ARCHIVE_FORMAT'],
    ['another compression', [{ name: 'a', content: 'x', method: 14 }], 'ERR_ARCHIVE_METHOD'],
    ['a folder with content', [{ name: 'a/', content: 'x', mode: 0o40755 }], 'ERR_ARCHIVE_FORMAT'],
    ['too many entries', [{ name: 'a' }, { name: 'b' }], 'ERR_ARCHIVE_LIMIT', { maxEntries: 1 }],
    [
      'too large a file',
      [{ name: 'a', content: 'xxx' }],
      'ERR_ARCHIVE_LIMIT',
      { maxMemberBytes: 2 },
    ],
    [
      'too much together',
      [
        { name: 'a', content: 'xx' },
        { name: 'b', content: 'xx' },
      ],
      'ERR_ARCHIVE_LIMIT',
      { maxTotalBytes: 3 },
    ],
    ['too deep', [{ name: 'a/b/c' }], 'ERR_ARCHIVE_LIMIT', { maxDepth: 1 }],
    ['too long a name', [{ name: `${'a/'.repeat(600)}a` }], 'ERR_ARCHIVE_LIMIT'],
    ['too long a part', [{ name: 'a'.repeat(256) }], 'ERR_ARCHIVE_NAME'],
    ['a bomb', [{ name: 'a', content: new Uint8Array(5_000_000), method: 8 }], 'ERR_ARCHIVE_LIMIT'],
    [
      'a lie about a stored size',
      [{ name: 'a', content: 'x', declaredSize: 9 }],
      'ERR_ARCHIVE_FORMAT',
    ],
  ]
  it.each(cases)('refuses %s', async (_, entries, code, limits) => {
    await expect(openArchive(rawZip(entries), { limits })).rejects.toThrow(refusal(code))
  })

  it('refuses what is no zip, and every cut of one', async () => {
    const whole = rawZip([{ name: 'a', content: 'content' }])
    await expect(openArchive(new Uint8Array(0))).rejects.toThrow(refusal('ERR_ARCHIVE_FORMAT'))
    for (let length = 0; length < whole.length; length++)
      await expect(openArchive(whole.subarray(0, length))).rejects.toThrow(
        refusal('ERR_ARCHIVE_FORMAT'),
      )
  })

  it.each([
    ['more than declared', { declaredSize: 100 }],
    ['less than declared', { declaredSize: 5001 }],
    ['a wrong checksum', { declaredCrc: 1 }],
  ])('refuses on reading: %s', async (_, lie) => {
    await using archive = await openArchive(
      rawZip([{ name: 'a', content: 'x'.repeat(5000), method: 8, ...lie }]),
    )
    await expect(archive.readWhole('a', 10_000)).rejects.toThrow(refusal('ERR_ARCHIVE_FORMAT'))
  })

  it('refuses to read a whole file that is larger than asked for', async () => {
    await using archive = await openArchive(rawZip([{ name: 'a', content: 'xxx' }]))
    await expect(archive.readWhole('a', 2)).rejects.toThrow(refusal('ERR_ARCHIVE_LIMIT'))
    await expect(archive.readWhole('b', 2)).rejects.toThrow(refusal('ERR_ARCHIVE_ENTRY_UNKNOWN'))
  })

  it('throws nothing but ArchiveError, whatever octet is changed', async () => {
    const zip = rawZip([
      { name: 'job/', mode: 0o40755 },
      { name: 'job/a', content: 'stored' },
      { name: 'job/b', content: 'deflated'.repeat(20), method: 8 },
    ])
    await fc.assert(
      fc.asyncProperty(fc.nat(zip.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const changed = Uint8Array.from(zip)
        changed[at] = (changed[at] ?? 0) ^ by
        try {
          await using archive = await openArchive(changed)
          for (const path of archive.files.keys()) await archive.readWhole(path, 10_000)
        } catch (error) {
          expect(error).toMatchObject({ name: 'ArchiveError' })
        }
      }),
      { numRuns: 300 },
    )
  })

  it('reads archives of another implementation', async () => {
    const zip = zipSync({ job: { 'meta.json': Buffer.from('{}'), big: new Uint8Array(1000) } })
    await using archive = await openArchive(zip)
    expect(await archive.readWhole('job/big', 1000)).toEqual(new Uint8Array(1000))
  })
})

describe('writeArchive', () => {
  const part = fc.stringMatching(/^[a-zäß0-9_][a-zäß0-9_.-]{0,8}$/)
  const tree = fc.uniqueArray(
    fc.record({
      path: fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')),
      bytes: fc.uint8Array({ maxLength: 200 }),
    }),
    // Neither equal names nor a file where another path has a folder.
    { selector: ({ path }) => path.split('/')[0]?.toLowerCase().toUpperCase(), maxLength: 8 },
  )

  it('writes what openArchive reads, in both size forms', async () => {
    await fc.assert(
      fc.asyncProperty(tree, fc.constantFrom(undefined, 10), async (files, zip64From) => {
        const members = files.map(({ path, bytes }) => memberOf(path, bytes))
        const zip = await collected(writeArchive(members, { zip64From }))
        await using archive = await openArchive(zip)
        expect([...archive.files.keys()]).toEqual(files.map(({ path }) => path))
        for (const { path, bytes } of files)
          expect(Buffer.from(await archive.readWhole(path, 1000))).toEqual(Buffer.from(bytes))
      }),
    )
  })

  it('writes more entries than the short form can count', async () => {
    const members = Array.from({ length: 66_000 }, (_, i) => ({
      kind: 'folder' as const,
      path: `f${i}`,
    }))
    const zip = await collected(writeArchive(members))
    await using archive = await openArchive(zip, { limits: { maxEntries: 70_000 } })
    expect(archive.folders.size).toBe(66_000)
    // Long work: a busy machine takes more than the usual time.
  }, 60_000)

  it('gives equal octets for equal content', async () => {
    const members = [memberOf('a', Uint8Array.of(1))]
    expect(await collected(writeArchive(members))).toEqual(await collected(writeArchive(members)))
  })

  it.each(['../a', '/a', 'a\\b', ''])('refuses to write the name %j', async (path) => {
    await expect(collected(writeArchive([memberOf(path, new Uint8Array())]))).rejects.toThrow(
      refusal('ERR_ARCHIVE_NAME'),
    )
  })

  it('refuses a file that changes between checksum and copy', async () => {
    let reads = 0
    const member: ArchiveMember = {
      kind: 'file',
      path: 'a',
      size: 1,
      async *read() {
        yield Uint8Array.of(reads++)
      },
    }
    await expect(collected(writeArchive([member]))).rejects.toThrow(refusal('ERR_ARCHIVE_CHANGED'))
  })
})

describe('folders', () => {
  it('come back as they were, with the folder itself on top', async () => {
    await using folder = await temporaryFolder()
    const source = join(folder.path, 'job')
    await mkdir(join(source, 'app', 'empty'), { recursive: true })
    await writeFile(join(source, 'app', 'big.bin'), new Uint8Array(600_000).fill(7))
    await writeFile(join(source, 'meta.json'), '{}')
    const file = join(folder.path, 'job.zip')
    await writeFile(file, writeArchive(folderMembers(source, { top: 'job' })))
    await using archive = await openArchive(file)
    expect([...archive.folders]).toEqual(['job', 'job/app', 'job/app/empty'])

    const all = join(folder.path, 'all')
    await extractArchive(archive, all)
    expect(await readFile(join(all, 'job', 'meta.json'), 'utf8')).toBe('{}')
    expect((await stat(join(all, 'job', 'app', 'big.bin'))).size).toBe(600_000)
    expect((await stat(join(all, 'job', 'meta.json'))).mode & 0o777).toBe(0o600)

    const app = join(folder.path, 'app')
    await extractArchive(archive, app, { folder: 'job/app' })
    expect((await readdir(app)).toSorted()).toEqual(['big.bin', 'empty'])
    await expect(extractArchive(archive, app)).rejects.toThrow(refusal('ERR_ARCHIVE_DESTINATION'))
  })

  it('are packed with the layout that was recorded', async () => {
    const vectors = new URL('../../../vectors/jobs/', import.meta.url)
    const listing = JSON.parse(
      await readFile(new URL('expected/zip_listing.json', vectors), 'utf8'),
    ) as Record<string, { entries: string[] }>
    for (const [job, { entries }] of Object.entries(listing)) {
      const members = folderMembers(new URL(`${job}/`, vectors).pathname, { top: job })
      const zip = Buffer.from(await collected(writeArchive(members)))
      const names = zipNames(zip)
      expect(names.toSorted()).toEqual(entries.toSorted())
    }
  })

  it('are refused with a symbolic link in them, or as one', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'job'))
    await writeFile(join(folder.path, 'secret'), 'x')
    await symlink(join(folder.path, 'secret'), join(folder.path, 'job', 'link'))
    await expect(listed(folderMembers(join(folder.path, 'job')))).rejects.toThrow(
      refusal('ERR_ARCHIVE_LINK'),
    )
    await symlink(join(folder.path, 'job'), join(folder.path, 'alias'))
    await expect(listed(folderMembers(join(folder.path, 'alias')))).rejects.toThrow(
      refusal('ERR_ARCHIVE_LINK'),
    )
  })

  it('leave nothing behind when unpacking fails', async () => {
    await using folder = await temporaryFolder()
    await using archive = await openArchive(
      rawZip([
        { name: 'good', content: 'x' },
        { name: 'zz/bad', content: 'x', declaredCrc: 5 },
      ]),
    )
    const destination = join(folder.path, 'out')
    await expect(extractArchive(archive, destination)).rejects.toThrow(
      refusal('ERR_ARCHIVE_FORMAT'),
    )
    expect(await readdir(destination)).toEqual([])
  })
})

/** Names of the central directory, read the slow way. */
function zipNames(zip: Buffer): string[] {
  const names: string[] = []
  for (let at = zip.indexOf('PK\x01\x02', 0, 'latin1'); at !== -1; ) {
    const length = zip.readUInt16LE(at + 28)
    expect(zip.readUInt16LE(at + 10)).toBe(0)
    names.push(zip.toString('utf8', at + 46, at + 46 + length))
    const next = at + 46 + length + zip.readUInt16LE(at + 30)
    at = zip.toString('latin1', next, next + 4) === 'PK\x01\x02' ? next : -1
  }
  return names
}
