import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { expect } from 'vitest'

/** An array as `vectors/jobs/expected` writes it. */
export interface ExpectedArray {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data: readonly number[]
}

/** The `.npy` files of a result hold the expected arrays. */
export async function expectModels(
  folder: string,
  expected: Readonly<Record<string, ExpectedArray>>,
): Promise<void> {
  for (const [file, { dtype, shape, data }] of Object.entries(expected)) {
    const model = parseNpy(new Uint8Array(await readFile(join(folder, file))))
    expect(model).toMatchObject({ dtype, shape })
    expectClose([...model.data].map(Number), data.flat(Number.POSITIVE_INFINITY) as number[])
  }
}

/** Equal to 1e-6 of the largest value: the order of a site's own sums is not the same on all processors. */
export function expectClose(seen: readonly number[], expected: readonly number[]): void {
  expect(seen).toHaveLength(expected.length)
  const scale = Math.max(1, ...expected.map(Math.abs))
  for (const [i, value] of expected.entries())
    expect(Math.abs(seen[i]! - value) / scale).toBeLessThan(1e-6)
}

/** The same JSON, but for numbers, which are close. */
export function expectSimilar(seen: unknown, expected: unknown): void {
  const numbers = (value: unknown, found: number[] = []): number[] => {
    if (typeof value === 'number') found.push(value)
    else if (typeof value === 'object' && value !== null)
      for (const key of Object.keys(value).sort())
        numbers((value as Record<string, unknown>)[key], found)
    return found
  }
  const shape = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value), (_, item) => (typeof item === 'number' ? 'number' : item))
  expect(shape(seen)).toEqual(shape(expected))
  expectClose(numbers(seen), numbers(expected))
}
