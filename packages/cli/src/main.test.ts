import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

/** Every command needs them, and they bring little along. */
const LOADED_BY_ALL = ['@hanse/contract', '@hanse/logger-pino']

const STATIC_IMPORT = /^(?:import|export) (?!type )[^']*? from '(@hanse\/[^']+)'/gm

async function packagesLoadedAtOnce(folder: string): Promise<readonly string[]> {
  const files = await readdir(folder, { recursive: true })
  const sources = await Promise.all(
    files
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .map((file) => readFile(join(folder, file), 'utf8')),
  )
  return sources.flatMap((text) =>
    Array.from(text.matchAll(STATIC_IMPORT), ([, name = '']) => name),
  )
}

describe('the command', () => {
  it('loads no package before the command that needs it runs', async () => {
    const loaded = new Set(await packagesLoadedAtOnce(import.meta.dirname))
    expect([...loaded].toSorted()).toEqual(LOADED_BY_ALL)
  })
})
