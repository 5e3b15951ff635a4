import { type BytePart, bytesOf } from '@hanse/contract'
import { type DType, itemSize } from './dtype.ts'
import { bytesAt, MIN_STAYING_BYTES, type StayingArray, tensorsStaying } from './staying-arrays.ts'
import { elementsOf, tensorByteLength } from './stored-tensor.ts'
import { elementCount, type Framework, type Tensor, tensorFromBytes } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

/** What a reader of safetensors accepts. */
export interface SafetensorsLimits {
  /** Bytes of the JSON header; the reference reader's limit is 100,000,000. */
  readonly maxHeaderBytes: number
  readonly maxTensors: number
}

/** The content of a safetensors file (fobs.md §11.3). */
export interface Safetensors {
  readonly tensors: Map<string, Tensor>
  readonly metadata: Map<string, string>
}

const DEFAULT_LIMITS: SafetensorsLimits = { maxHeaderBytes: 16 * 1024 * 1024, maxTensors: 100_000 }
const LENGTH_BYTES = 8
const METADATA = '__metadata__'

// In the order in which the reference writer lays tensors out, so that wide elements come first and all
// stay aligned.
const TYPES: readonly (readonly [string, DType])[] = [
  ['U64', 'uint64'],
  ['I64', 'int64'],
  ['F64', 'float64'],
  ['C64', 'complex64'],
  ['F32', 'float32'],
  ['U32', 'uint32'],
  ['I32', 'int32'],
  ['BF16', 'bfloat16'],
  ['F16', 'float16'],
  ['U16', 'uint16'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]
const FROM_NAME: ReadonlyMap<string, DType> = new Map(TYPES)
const TO_NAME: ReadonlyMap<DType, string> = new Map(TYPES.map(([name, dtype]) => [dtype, name]))
const RANK: ReadonlyMap<DType, number> = new Map(TYPES.map(([, dtype], rank) => [dtype, rank]))

/**
 * Reads a whole file. Tensors are views on `file` where aligned; the long ones of a file that is stored stay there, and
 * release it when all of them are released. Tensor regions must cover the data exactly, without gap or overlap, as the
 * reference demands.
 * @throws {TensorError} `ERR_SAFETENSORS_FORMAT`, `ERR_SAFETENSORS_DTYPE`, `ERR_TENSOR_LIMIT`; a stored file is then
 * the caller's
 */
export function parseSafetensors(
  file: BytePart,
  options: Partial<SafetensorsLimits> & { framework?: Framework } = {},
): Safetensors {
  const { maxHeaderBytes, maxTensors, framework } = { ...DEFAULT_LIMITS, ...options }
  const start = headerEnd(file, maxHeaderBytes)
  const header = headerJson(bytesAt(file, LENGTH_BYTES, start - LENGTH_BYTES))
  const names = Object.keys(header)
  if (names.length > maxTensors + 1)
    throw new TensorError(
      'ERR_TENSOR_LIMIT',
      `safetensors of ${names.length} tensors is over the limit of ${maxTensors}`,
    )
  const dataBytes = file.byteLength - start
  const found = new Map<string, Tensor | StayingArray>()
  const regions: (readonly [begin: number, end: number])[] = []
  let metadata = new Map<string, string>()
  for (const [name, value] of Object.entries(header)) {
    if (name === METADATA) {
      metadata = readMetadata(value)
      continue
    }
    const { dtype, shape, begin, end } = readInfo(name, value, dataBytes)
    regions.push([begin, end])
    const byteLength = end - begin
    const stays = !(file instanceof Uint8Array) && byteLength >= MIN_STAYING_BYTES
    found.set(
      name,
      stays
        ? { dtype, shape, start: start + begin, byteLength }
        : tensorFromBytes(
            dtype,
            shape,
            bytesAt(file, start + begin, byteLength),
            framework ? { framework } : {},
          ),
    )
  }
  checkCover(regions, dataBytes)
  const tensors =
    file instanceof Uint8Array
      ? (found as Map<string, Tensor>) // only of a stored file are there others
      : tensorsStaying(file, found, framework)
  return { tensors, metadata }
}

/**
 * The file as the reference writer lays it out, in pieces: header first, then views on the elements; those of a stored
 * tensor stay where they are.
 * @throws {TensorError} `ERR_SAFETENSORS_DTYPE` for complex128; `ERR_SAFETENSORS_FORMAT` for a tensor
 * named `__metadata__`
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): BytePart[] {
  const { header, sorted } = layOut(tensors, metadata)
  return [header, ...sorted.map(elementsOf)]
}

function layOut(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string>,
): { readonly header: Uint8Array; readonly sorted: readonly Tensor[] } {
  const sorted = [...tensors].sort(
    ([a, x], [b, y]) => (RANK.get(x.dtype) ?? 0) - (RANK.get(y.dtype) ?? 0) || (a < b ? -1 : 1),
  )
  const fields: string[] = []
  if (metadata.size > 0)
    fields.push(
      `"${METADATA}":{${[...metadata].map(([key, text]) => `${JSON.stringify(key)}:${JSON.stringify(text)}`).join(',')}}`,
    )
  let offset = 0
  for (const [name, tensor] of sorted) {
    const type = TO_NAME.get(tensor.dtype)
    if (type === undefined)
      throw new TensorError(
        'ERR_SAFETENSORS_DTYPE',
        `safetensors cannot hold ${tensor.dtype} ("${name}")`,
      )
    if (name === METADATA)
      throw new TensorError('ERR_SAFETENSORS_FORMAT', `a tensor cannot be named ${METADATA}`)
    const end = offset + tensorByteLength(tensor)
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${type}","shape":[${tensor.shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    )
    offset = end
  }
  const json = new TextEncoder().encode(`{${fields.join(',')}}`)
  const padded = Math.ceil(json.length / 8) * 8
  const header = new Uint8Array(LENGTH_BYTES + padded).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true)
  header.set(json, LENGTH_BYTES)
  return { header, sorted: sorted.map(([, tensor]) => tensor) }
}

/** The file in one piece (a copy); see `encodeSafetensors`. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: ReadonlyMap<string, string>,
): Uint8Array {
  const parts = encodeSafetensors(tensors, metadata)
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    out.set(bytesOf(part), at)
    at += part.byteLength
  }
  return out
}

function headerEnd(file: BytePart, maxHeaderBytes: number): number {
  if (file.byteLength < LENGTH_BYTES)
    throw new TensorError('ERR_SAFETENSORS_FORMAT', 'safetensors data ends inside its length')
  const bytes = bytesAt(file, 0, LENGTH_BYTES)
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes))
    throw new TensorError(
      'ERR_TENSOR_LIMIT',
      `safetensors header of ${length} bytes is over the limit of ${maxHeaderBytes}`,
    )
  const end = LENGTH_BYTES + Number(length)
  if (end > file.byteLength)
    throw new TensorError('ERR_SAFETENSORS_FORMAT', 'safetensors data ends inside its header')
  return end
}

function headerJson(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new TensorError('ERR_SAFETENSORS_FORMAT', 'safetensors header is not JSON', {}, { cause })
  }
  if (!isRecord(value))
    throw new TensorError('ERR_SAFETENSORS_FORMAT', 'safetensors header is not an object')
  return value
}

function readMetadata(value: unknown): Map<string, string> {
  if (!isRecord(value))
    throw new TensorError('ERR_SAFETENSORS_FORMAT', 'safetensors metadata is not an object')
  const metadata = new Map<string, string>()
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw new TensorError(
        'ERR_SAFETENSORS_FORMAT',
        'safetensors metadata has a value that is no text',
      )
    metadata.set(key, text)
  }
  return metadata
}

interface TensorInfo {
  readonly dtype: DType
  readonly shape: number[]
  readonly begin: number
  readonly end: number
}

function readInfo(name: string, value: unknown, dataBytes: number): TensorInfo {
  const label = `safetensors entry "${name.slice(0, 80)}"`
  if (!isRecord(value)) throw new TensorError('ERR_SAFETENSORS_FORMAT', `${label} is not an object`)
  const { dtype: type, shape, data_offsets: offsets } = value
  const dtype = typeof type === 'string' ? FROM_NAME.get(type) : undefined
  if (dtype === undefined)
    throw new TensorError('ERR_SAFETENSORS_DTYPE', `${label} has type ${String(type).slice(0, 20)}`)
  if (!isCounts(shape) || !isCounts(offsets) || offsets.length !== 2)
    throw new TensorError('ERR_SAFETENSORS_FORMAT', `${label} has no usable shape or offsets`)
  const [begin, end] = offsets as [number, number] // length checked above
  const size = BigInt(elementCount(shape)) * BigInt(itemSize(dtype))
  if (end > dataBytes || BigInt(end - begin) !== size)
    throw new TensorError(
      'ERR_SAFETENSORS_FORMAT',
      `${label}: offsets ${begin}…${end} do not fit its shape`,
    )
  return { dtype, shape, begin, end }
}

function checkCover(regions: (readonly [number, number])[], dataBytes: number): void {
  regions.sort(([a, x], [b, y]) => a - b || x - y)
  let covered = 0
  for (const [begin, end] of regions) {
    if (begin !== covered)
      throw new TensorError(
        'ERR_SAFETENSORS_FORMAT',
        `safetensors data has a gap or overlap at byte ${covered}`,
      )
    covered = end
  }
  if (covered !== dataBytes)
    throw new TensorError(
      'ERR_SAFETENSORS_FORMAT',
      `safetensors data has ${dataBytes - covered} spare bytes`,
    )
}

function isRecord(
  value: unknown,
): value is Record<string, unknown> & { dtype?: unknown; shape?: unknown; data_offsets?: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}
