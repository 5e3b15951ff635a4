import { readdir, readFile } from 'node:fs/promises'

const PAGES = new URL('../../../docs/connectivity/', import.meta.url)

/** A block of code that a page shows and a test runs: ` ```nginx name=nginx-http `. */
export interface Block {
  readonly page: string
  readonly language: string
  /** `undefined`: nobody runs it. */
  readonly name: string | undefined
  readonly text: string
}

/** Every block of code in `docs/connectivity`. */
export async function allBlocks(): Promise<readonly Block[]> {
  const files = (await readdir(PAGES)).filter((file) => file.endsWith('.md'))
  const blocks = await Promise.all(files.map((file) => blocksOf(file.slice(0, -3))))
  return blocks.flat()
}

async function blocksOf(page: string): Promise<readonly Block[]> {
  const text = await readFile(new URL(`${page}.md`, PAGES), 'utf8')
  return [...text.matchAll(/^```(\S+)(?: name=(\S+))?\n(.*?)^```$/gms)].map(
    ([, language = '', name, body = '']) => ({ page, language, name, text: body }),
  )
}

/**
 * A configuration as a page shows it, for this machine: each key of `here` becomes its value. All of them must stand in
 * it, so that page and test cannot drift apart.
 */
export async function configuration(
  page: string,
  name: string,
  here: Readonly<Record<string, string | number>>,
): Promise<string> {
  const block = (await blocksOf(page)).find((candidate) => candidate.name === name)
  if (block === undefined) throw new Error(`docs/connectivity/${page}.md has no block ${name}`)
  // All at once: what one key was replaced with is no place for another.
  const keys = Object.keys(here).toSorted((a, b) => b.length - a.length)
  const missing = keys.filter((key) => !block.text.includes(key))
  if (missing.length > 0)
    throw new Error(`docs/connectivity/${page}.md says nothing of ${missing.join(', ')} in ${name}`)
  if (keys.length === 0) return block.text
  const pattern = new RegExp(keys.map(escaped).join('|'), 'g')
  return block.text.replaceAll(pattern, (key) => String(here[key]))
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}
