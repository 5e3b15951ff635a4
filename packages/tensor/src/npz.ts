import type { BytePart } from '@hanse/contract'
import { checksumIn, checksumOf } from './checksum.ts'
import { crc32 } from './crc32.ts'
import { encodeNpy, MAX_NPY_HEADER_BYTES, npyLayout, parseNpy } from './npy.ts'
import { bytesAt, MIN_STAYING_BYTES, type StayingArray, tensorsStaying } from './staying-arrays.ts'
import type { Tensor } from './tensor.ts'
import { TensorError } from './tensor-error.ts'

/** What a reader of `.npz` files accepts. */
export interface NpzLimits {
  /** Entries per archive; 65,535 is the format's own limit without zip64. */
  readonly maxEntries: number
}

/** What reading and writing `.npz` files can be given. */
export interface NpzOptions {
  /** Default true. Else zeros are written in their place, and whatever stands there is read: for who trusts the way. */
  readonly checksums?: boolean | undefined
}

const DEFAULT_LIMITS: NpzLimits = { maxEntries: 65_535 }
const LOCAL_HEADER = 0x04034b50
const CENTRAL_HEADER = 0x02014b50
const END_RECORD = 0x06054b50
const LOCAL_BYTES = 30
const CENTRAL_BYTES = 46
const END_BYTES = 22
const MAX_COMMENT = 65_535
/** Of as many entries as there can be, with names of a sane length. */
const MAX_DIRECTORY = 16 * 1024 * 1024
const MAX_ZIP32 = 0xffffffff
// 1980-01-01, the earliest date zip knows and the one NumPy writes.
const EPOCH_DATE = 0x21

/**
 * Reads a `.npz` archive: entry `x.npy` becomes tensor `x`. Sizes come from the central directory, as
 * NumPy fills the local headers with zip64 placeholders (fobs.md §11.2). Tensors are views on `file`
 * where alignment allows; the long ones of a file that is stored stay there, and release it when all of them are
 * released. Checksums are verified unless told otherwise.
 * @throws {TensorError} `ERR_NPZ_FORMAT`; `ERR_NPZ_COMPRESSED` for deflated entries, which nobody needs to
 * send and which could expand without end; `ERR_NPY_…` for what the entries hold. A stored file is then the caller's
 */
export function parseNpz(
  file: BytePart,
  options: Partial<NpzLimits> & NpzOptions = {},
): Map<string, Tensor> {
  const { maxEntries, checksums = true } = { ...DEFAULT_LIMITS, ...options }
  const tailStart = Math.max(0, file.byteLength - END_BYTES - MAX_COMMENT)
  const tail = viewOn(file, tailStart, file.byteLength - tailStart)
  const end = findEnd(tail)
  const count = tail.getUint16(end + 10, true)
  const start = tail.getUint32(end + 16, true)
  const byteLength = tail.getUint32(end + 12, true)
  if (count > maxEntries)
    throw new TensorError(
      'ERR_TENSOR_LIMIT',
      `.npz of ${count} entries is over the limit of ${maxEntries}`,
    )
  if (start === MAX_ZIP32 || start + byteLength > tailStart + end || byteLength > MAX_DIRECTORY)
    throw new TensorError('ERR_NPZ_FORMAT', '.npz directory lies outside the archive')
  const directory = viewOn(file, start, byteLength)
  const tensors = new Map<string, Tensor | StayingArray>()
  let at = 0
  for (let i = 0; i < count; i++) {
    const entry = readEntry(directory, at)
    at = entry.next
    if (!entry.name.endsWith('.npy'))
      throw new TensorError(
        'ERR_NPZ_FORMAT',
        `.npz entry "${entry.name.slice(0, 80)}" is no .npy file`,
      )
    const name = entry.name.slice(0, -4)
    if (tensors.has(name))
      throw new TensorError('ERR_NPZ_FORMAT', `.npz has two entries "${name.slice(0, 80)}"`)
    tensors.set(name, readArray(file, entry, start, checksums))
  }
  return file instanceof Uint8Array
    ? (tensors as Map<string, Tensor>) // only of a stored file are there others
    : tensorsStaying(file, tensors)
}

/**
 * A stored zip with one `.npy` file per tensor, in pieces: what follows one another is the file, and the
 * elements are views on the tensors. Each array starts at a multiple of 64 bytes.
 * @throws {TensorError} `ERR_TENSOR_LIMIT` past 4 GiB or 65,535 entries; `ERR_NPY_DTYPE`
 */
export function encodeNpz(
  tensors: Iterable<readonly [name: string, tensor: Tensor]>,
  { checksums = true }: NpzOptions = {},
): BytePart[] {
  const parts: BytePart[] = []
  const directory: Uint8Array[] = []
  let offset = 0
  for (const [name, tensor] of tensors) {
    const [header, data] = encodeNpy(tensor)
    const fields = {
      name: new TextEncoder().encode(`${name}.npy`),
      crc: checksums ? checksumOf(data, crc32(header)) : 0,
      size: header.length + data.byteLength,
      offset,
    }
    if (fields.name.length > 0xffff || fields.size + offset > MAX_ZIP32)
      throw new TensorError(
        'ERR_TENSOR_LIMIT',
        `.npz entry "${name.slice(0, 80)}" does not fit a 4 GiB archive`,
      )
    const local = localHeader(fields)
    parts.push(local, header, data)
    directory.push(centralHeader(fields))
    offset += local.length + fields.size
  }
  if (directory.length >= 0xffff)
    throw new TensorError(
      'ERR_TENSOR_LIMIT',
      `${directory.length} tensors are too many for one .npz`,
    )
  const directoryBytes = directory.reduce((sum, part) => sum + part.length, 0)
  const end = new DataView(new ArrayBuffer(END_BYTES))
  end.setUint32(0, END_RECORD, true)
  end.setUint16(8, directory.length, true)
  end.setUint16(10, directory.length, true)
  end.setUint32(12, directoryBytes, true)
  end.setUint32(16, offset, true)
  parts.push(...directory, new Uint8Array(end.buffer))
  return parts
}

interface Entry {
  readonly name: string
  readonly crc: number
  readonly size: number
  readonly local: number
  readonly next: number
}

function readArray(
  file: BytePart,
  entry: Entry,
  directory: number,
  checksums: boolean,
): Tensor | StayingArray {
  const start = startOf(file, entry, directory)
  if (checksums && checksumIn(file, start, start + entry.size) !== entry.crc)
    throw new TensorError(
      'ERR_NPZ_FORMAT',
      `.npz entry "${entry.name.slice(0, 80)}" has a wrong checksum`,
    )
  if (file instanceof Uint8Array) return parseNpy(file.subarray(start, start + entry.size))
  const head = bytesAt(file, start, Math.min(entry.size, MAX_NPY_HEADER_BYTES))
  const layout = npyLayout(head, entry.size)
  // What must be rearranged is, in memory.
  if (entry.size < MIN_STAYING_BYTES || layout.fortranOrder || layout.byteOrder === 'big')
    return parseNpy(bytesAt(file, start, entry.size))
  const { dtype, shape, dataOffset } = layout
  return { dtype, shape, start: start + dataOffset, byteLength: entry.size - dataOffset }
}

function viewOn(file: BytePart, start: number, byteLength: number): DataView {
  const bytes = bytesAt(file, start, byteLength)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function findEnd(view: DataView): number {
  const last = view.byteLength - END_BYTES
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT); at--)
    if (
      view.getUint32(at, true) === END_RECORD &&
      at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength
    )
      return at
  throw new TensorError('ERR_NPZ_FORMAT', 'not a .npz archive: no end record')
}

function readEntry(view: DataView, at: number): Entry {
  if (at + CENTRAL_BYTES > view.byteLength || view.getUint32(at, true) !== CENTRAL_HEADER)
    throw new TensorError('ERR_NPZ_FORMAT', '.npz directory is damaged')
  const method = view.getUint16(at + 10, true)
  const nameBytes = view.getUint16(at + 28, true)
  const extraBytes = view.getUint16(at + 30, true)
  const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true)
  if (next > view.byteLength) throw new TensorError('ERR_NPZ_FORMAT', '.npz directory is damaged')
  const raw = new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL_BYTES, nameBytes)
  const name = new TextDecoder().decode(raw)
  if (method !== 0)
    throw new TensorError(
      'ERR_NPZ_COMPRESSED',
      `.npz entry "${name.slice(0, 80)}" is compressed (method ${method}); write it with numpy.savez, not savez_compressed`,
    )
  const stored = view.getUint32(at + 20, true)
  const size = view.getUint32(at + 24, true)
  const flags = view.getUint16(at + 8, true)
  if (stored !== size || size === MAX_ZIP32 || (flags & 1) !== 0)
    throw new TensorError(
      'ERR_NPZ_FORMAT',
      `.npz entry "${name.slice(0, 80)}" is not a plain stored file`,
    )
  return {
    name,
    crc: view.getUint32(at + 16, true),
    size,
    local: view.getUint32(at + 42, true),
    next,
  }
}

/** Where an entry's content begins. */
function startOf(file: BytePart, { local, size }: Entry, directory: number): number {
  const header = local + LOCAL_BYTES <= directory ? viewOn(file, local, LOCAL_BYTES) : undefined
  if (header?.getUint32(0, true) !== LOCAL_HEADER)
    throw new TensorError('ERR_NPZ_FORMAT', '.npz entry does not start where the directory says')
  const start = local + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true)
  if (start + size > directory)
    throw new TensorError('ERR_NPZ_FORMAT', '.npz entry reaches outside the archive')
  return start
}

interface EntryFields {
  readonly name: Uint8Array
  readonly crc: number
  readonly size: number
  readonly offset: number
}

function writeCommon(
  view: DataView,
  at: number,
  { name, crc, size }: EntryFields,
  extra: number,
): void {
  view.setUint16(at, 20, true)
  view.setUint16(at + 2, 0x0800, true) // the name is UTF-8
  view.setUint16(at + 4, 0, true)
  view.setUint16(at + 8, EPOCH_DATE, true)
  view.setUint32(at + 10, crc, true)
  view.setUint32(at + 14, size, true)
  view.setUint32(at + 18, size, true)
  view.setUint16(at + 22, name.length, true)
  view.setUint16(at + 24, extra, true)
}

function localHeader(fields: EntryFields): Uint8Array {
  // An extra field with an id nobody uses aligns the array, so that a reader can view instead of copy.
  const unaligned = fields.offset + LOCAL_BYTES + fields.name.length
  const extra = 4 + ((64 - ((unaligned + 4) % 64)) % 64)
  const out = new Uint8Array(LOCAL_BYTES + fields.name.length + extra)
  const view = new DataView(out.buffer)
  view.setUint32(0, LOCAL_HEADER, true)
  writeCommon(view, 4, fields, extra)
  out.set(fields.name, LOCAL_BYTES)
  view.setUint16(LOCAL_BYTES + fields.name.length, 0x4148, true)
  view.setUint16(LOCAL_BYTES + fields.name.length + 2, extra - 4, true)
  return out
}

function centralHeader(fields: EntryFields): Uint8Array {
  const out = new Uint8Array(CENTRAL_BYTES + fields.name.length)
  const view = new DataView(out.buffer)
  view.setUint32(0, CENTRAL_HEADER, true)
  view.setUint16(4, 20, true)
  writeCommon(view, 6, fields, 0)
  view.setUint32(42, fields.offset, true)
  out.set(fields.name, CENTRAL_BYTES)
  return out
}
