import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

const ROOT = new URL('../../', import.meta.url)
const PROOF = /`((?:packages|test)\/[^`]+\.test\.ts)` › `([^`]+)`/g

it('the page of controls names tests that exist', async () => {
  const page = await readFile(new URL('docs/security/README.md', ROOT), 'utf8')
  const rows = page
    .split('\n')
    .filter((line) => /^\| (?!control|-)/.test(line) && !/^\|-/.test(line))
  expect(rows.length).toBeGreaterThan(40)
  const missing: string[] = []
  for (const row of rows) {
    const proofs = [...row.matchAll(PROOF)]
    if (proofs.length === 0) missing.push(`nothing proves: ${row}`)
    for (const [, file = '', name = ''] of proofs) {
      const source = await readFile(new URL(file, ROOT), 'utf8').catch(() => '')
      if (!source.includes(`'${name}'`) && !source.includes(`"${name}"`))
        missing.push(`${file} › ${name}`)
    }
  }
  expect(missing).toEqual([])
})
