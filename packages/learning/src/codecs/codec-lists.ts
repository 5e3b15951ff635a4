import type { AnyFobsCodec } from '@hanse/fobs'
import { ckksVectorCodec } from './ckks-vector.ts'
import { dxoObjectCodec, flModelObjectCodec } from './model-objects.ts'
import { ndarrayCodec, relayedArrayCodec } from './ndarray.ts'
import { numpyScalarCodecs } from './numpy-scalar.ts'
import { statisticsCodecs } from './statistics.ts'
import { torchTensorCodec } from './torch-tensor.ts'

// Each process registers only what it may receive (fobs.md §9.5). All lists need `coreCodecs` beside them, and
// the objects and statistics need `platformCodecs` of the session package.

/** NumPy arrays, in the message or by reference, and scalars. */
export const numpyCodecs: readonly AnyFobsCodec[] = Object.freeze([
  ndarrayCodec,
  ...numpyScalarCodecs,
])

/** The same, with arrays that are passed on byte for byte instead of being computed with. */
export const relayedNumpyCodecs: readonly AnyFobsCodec[] = Object.freeze([
  relayedArrayCodec,
  ...numpyScalarCodecs,
])

/** PyTorch tensors, in the message or by reference. */
export const torchCodecs: readonly AnyFobsCodec[] = Object.freeze([torchTensorCodec])

/** DXO and FLModel objects, as collections and stored models hold them. */
export const modelObjectCodecs: readonly AnyFobsCodec[] = Object.freeze([
  dxoObjectCodec,
  flModelObjectCodec,
])

/** Homomorphically encrypted vectors, opaque; only for jobs that use them. */
export const heCodecs: readonly AnyFobsCodec[] = Object.freeze([ckksVectorCodec])

/** What the processes of a learning job accept: everything above but encrypted vectors, and statistics. */
export const learningCodecs: readonly AnyFobsCodec[] = Object.freeze([
  ...numpyCodecs,
  ...torchCodecs,
  ...modelObjectCodecs,
  ...statisticsCodecs,
])
