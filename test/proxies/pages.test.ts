import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { allBlocks } from './support/page.ts'

it('runs every configuration that a page of docs/connectivity shows', async () => {
  const files = (await readdir(import.meta.dirname)).filter((file) => file.endsWith('.test.ts'))
  const texts = await Promise.all(
    files.map((file) => readFile(`${import.meta.dirname}/${file}`, 'utf8')),
  )
  const blocks = await allBlocks()
  expect(blocks.length).toBeGreaterThan(20)
  const unused = blocks.filter(
    ({ page, name }) =>
      name === undefined ||
      !texts.some((text) => text.includes(`'${page}'`) && text.includes(`'${name}'`)),
  )
  expect(unused.map(({ page, name, text }) => `${page}: ${name ?? text}`)).toEqual([])
})
