import {
  coreCodecs,
  createFobsRegistry,
  decodeWhole,
  encode,
  type FobsRegistry,
  type FobsValue,
} from '@hanse/fobs'
import { platformCodecs } from '@hanse/session'
import { learningCodecs } from './codec-lists.ts'

let registry: FobsRegistry | undefined

function fileRegistry(): FobsRegistry {
  registry ??= createFobsRegistry(coreCodecs, platformCodecs, learningCodecs)
  return registry
}

/** A value as stock writes it into a file of its own: one FOBS envelope, arrays included, in pieces. */
export function encodeObjectFile(value: FobsValue): Uint8Array[] {
  return encode(value, fileRegistry()).parts
}

/**
 * The value in such a file; arrays are views on `bytes`.
 * @throws {FobsError}
 */
export function decodeObjectFile(bytes: Uint8Array): FobsValue {
  return decodeWhole(bytes, fileRegistry())
}
