import { randomBytes } from 'node:crypto'
import type { RandomSource } from '../../src/streams/random-source.ts'

/** Real randomness; views on their own memory. */
export const testRandom: RandomSource = (length) => new Uint8Array(randomBytes(length))
