import type { AnyFobsCodec } from '../codec.ts'
import { dateTimeCodec } from './date-time.ts'
import { lazyReferenceCodec } from './lazy-reference.ts'
import { orderedDictCodec } from './ordered-dict.ts'
import { tupleCodec } from './tuple.ts'
import { valueSetCodec } from './value-set.ts'

/** What every process registers (§9.5): tuple, set, OrderedDict, datetime and references passed on. */
export const coreCodecs: readonly AnyFobsCodec[] = Object.freeze([
  tupleCodec,
  valueSetCodec,
  orderedDictCodec,
  dateTimeCodec,
  lazyReferenceCodec,
])
