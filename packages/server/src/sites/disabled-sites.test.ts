import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@hanse/contract'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DisabledSites } from './disabled-sites.ts'
import { SiteBook } from './site-book.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-sites-'))
  path = join(folder, 'list.json')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A signature is the text turned round, and a key in front. */
const signerOf = (key: string) => {
  const sign = (text: string) => key + [...text].toReversed().join('')
  return { sign, verify: (text: string, signature: string) => signature === sign(text) }
}
const signer = signerOf('k')
const site = (name: string) => ({ name, by: 'boss', at: 1 })

describe('disabled sites', () => {
  it('are remembered across restarts, with who disabled them', async () => {
    const list = await DisabledSites.open(path, signer)
    expect(await list.disable(site('site-1'))).toBe(true)
    expect(await list.disable(site('site-1'))).toBe(false)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const again = await DisabledSites.open(path, signer)
    expect(again.list()).toEqual([site('site-1')])
    expect(await again.enable('site-1')).toBe(true)
    expect(await again.enable('site-1')).toBe(false)
    expect((await DisabledSites.open(path, signer)).list()).toEqual([])
  })

  it('are all kept when many change at once', async () => {
    const list = await DisabledSites.open(path, signer)
    await Promise.all(Array.from({ length: 20 }, (_, i) => list.disable(site(`site-${i}`))))
    expect((await DisabledSites.open(path, signer)).list()).toHaveLength(20)
  })

  it.each([
    ['changed by somebody else', (text: string) => text.replace('site-1', 'site-2')],
    ['cut short', (text: string) => text.slice(0, 20)],
    ['of another server', undefined],
  ])('stop the server when the list is %s', async (_what, change) => {
    const list = await DisabledSites.open(path, change === undefined ? signerOf('other') : signer)
    await list.disable(site('site-1'))
    if (change !== undefined) await writeFile(path, change(await readFile(path, 'utf8')))
    await expect(DisabledSites.open(path, signer)).rejects.toMatchObject({
      code: 'ERR_DISABLED_SITES',
    })
  })
})

describe('the book of sites', () => {
  const known = (name: string, software = 'hanse 1') => ({
    name,
    fingerprint: `f-${name}`,
    organization: 'clinic',
    software,
    siteConfig: '{}',
  })
  const open = (key = 'k') => SiteBook.open(path, { signer: signerOf(key), logger: silentLogger })

  it('tells what a site said last, to the holder of the same certificate', async () => {
    const book = await open()
    await book.remember(known('site-1'))
    await book.remember(known('site-1', 'hanse 2'))
    const again = await open()
    expect(again.recall('site-1', 'f-site-1')).toEqual(known('site-1', 'hanse 2'))
    expect(again.recall('site-1', 'f-other')).toBeUndefined()
    expect(again.recall('site-2', 'f-site-2')).toBeUndefined()
  })

  it('does not write again what it knows', async () => {
    const book = await open()
    await book.remember(known('site-1'))
    await rm(path)
    await book.remember(known('site-1'))
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('of another key is put aside: it fills again', async () => {
    await (await open('other')).remember(known('site-1'))
    const book = await open()
    expect(book.recall('site-1', 'f-site-1')).toBeUndefined()
    await book.remember(known('site-2'))
    expect((await open()).recall('site-2', 'f-site-2')).toBeDefined()
  })
})
