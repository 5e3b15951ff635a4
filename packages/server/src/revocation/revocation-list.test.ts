import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RevocationList } from './revocation-list.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-revoked-'))
  file = join(folder, 'revoked.json')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A signature is the text turned round, and a key in front. */
const signerOf = (key: string) => {
  const sign = (text: string) => key + [...text].toReversed().join('')
  return { sign, verify: (text: string, signature: string) => signature === sign(text) }
}
const signer = signerOf('k')
const revocation = (name: string) => ({ name, by: 'boss', at: 1, reason: 'left the league' })

describe('revocation list', () => {
  it('remembers across restarts who was revoked, and by whom', async () => {
    const list = await RevocationList.open(file, signer)
    expect(await list.revoke(revocation('site-1'))).toBe(true)
    expect(await list.revoke(revocation('site-1'))).toBe(false)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const again = await RevocationList.open(file, signer)
    expect(again.get('site-1')).toEqual(revocation('site-1'))
    expect(await again.reinstate('site-1')).toBe(true)
    expect(await again.reinstate('site-1')).toBe(false)
    expect((await RevocationList.open(file, signer)).list()).toEqual([])
  })

  it('keeps every change of many at once', async () => {
    const list = await RevocationList.open(file, signer)
    const names = Array.from({ length: 20 }, (_, i) => `site-${i}`)
    await Promise.all(names.map((name) => list.revoke(revocation(name))))
    expect((await RevocationList.open(file, signer)).list()).toHaveLength(20)
  })

  it.each([
    ['somebody took a name off', (text: string) => text.replace('site-1', 'site-2')],
    [
      'the signature is gone',
      (text: string) => text.replace(/"signature": "[^"]*"/, '"signature": ""'),
    ],
    ['it is cut short', (text: string) => text.slice(0, 20)],
    ['it is empty', () => ''],
  ])('does not serve when %s', async (_what, change) => {
    const list = await RevocationList.open(file, signer)
    await list.revoke(revocation('site-1'))
    await writeFile(file, change(await readFile(file, 'utf8')))
    await expect(RevocationList.open(file, signer)).rejects.toMatchObject({
      code: 'ERR_REVOCATION_LIST',
    })
  })

  it('does not take the list of another server', async () => {
    const list = await RevocationList.open(file, signer)
    await list.revoke(revocation('site-1'))
    await expect(RevocationList.open(file, signerOf('other'))).rejects.toMatchObject({
      code: 'ERR_REVOCATION_LIST',
    })
  })
})
