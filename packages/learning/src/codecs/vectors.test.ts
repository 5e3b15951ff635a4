import {
  coreCodecs,
  createFobsRegistry,
  DictValue,
  decode,
  encode,
  FobsError,
  type FobsValue,
} from '@hanse/fobs'
import {
  AdminMessage,
  adminCodecs,
  ClientRecord,
  clientCodecs,
  FLContext,
  platformCodecs,
  Shareable,
  storageCodecs,
  WorkspacePaths,
  xgboostCodecs,
} from '@hanse/session'
import { Tensor, tensorBytes } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { floatLike, jsonLike, normalized } from '../../../fobs/test/json-like.ts'
import {
  bytesOf,
  type FobsVector,
  hexOf,
  type InvalidVector,
  readVectors,
} from '../../../fobs/test/vectors.ts'
import {
  Bin,
  BinRange,
  CkksVector,
  DxoObject,
  edgeCodecs,
  Feature,
  FLModelObject,
  Histogram,
  heCodecs,
  learningCodecs,
  modelObjectCodecs,
  NumpyScalar,
  numpyCodecs,
  numpyReference,
  RawArray,
  relayedNumpyCodecs,
  StatisticConfig,
  statisticsCodecs,
  torchCodecs,
  torchReference,
} from './index.ts'

const others = [
  torchCodecs,
  modelObjectCodecs,
  statisticsCodecs,
  edgeCodecs,
  heCodecs,
  adminCodecs,
  clientCodecs,
  xgboostCodecs,
]
const computing = createFobsRegistry(coreCodecs, storageCodecs, numpyCodecs, ...others)
const relaying = createFobsRegistry(coreCodecs, storageCodecs, relayedNumpyCodecs, ...others)
/** What a server's job would register. */
const network = createFobsRegistry(
  coreCodecs,
  platformCodecs,
  adminCodecs,
  learningCodecs,
  edgeCodecs,
)

const vectors = readVectors<FobsVector[]>('fobs')
const local = vectors.filter(({ group }) => group !== 'by_reference')
const byReference = vectors.filter(({ group }) => group === 'by_reference')

describe('all vectors', () => {
  it('are there', () => expect([local.length, byReference.length]).toEqual([257, 9]))

  it.each(local)('decodes $name as it is', ({ hex, json_like: like }) => {
    const decoded = decode(bytesOf(hex), relaying, { floats: 'marked', allowFiles: true })
    expect(decoded.references).toEqual([])
    expect(normalized(jsonLike(decoded.passThrough, describeObject))).toEqual(normalized(like))
  })

  it.each(local.filter(({ exact }) => exact))('re-encodes $name byte for byte', (vector) => {
    const decoded = decode(bytesOf(vector.hex), relaying, { floats: 'marked', allowFiles: true })
    expect(encodedAgain(decoded.passThrough, vector)).toBe(vector.hex)
  })

  it.each(local)('decodes the arrays of $name to their values', ({ hex, json_like: like }) => {
    const decoded = decode(bytesOf(hex), computing, { floats: 'marked', allowFiles: true })
    expect(inCOrder(jsonLike(decoded.passThrough, describeObject))).toEqual(inCOrder(like))
  })
})

describe('by reference', () => {
  it.each(byReference)('passes $name on without a download', (vector) => {
    const { lazy_json_like: lazy } = vector
    const decoded = decode(bytesOf(vector.hex), computing, { floats: 'marked' })
    expect(decoded.references.map(({ dot }) => dot)).toEqual(
      vector.sections.filter(({ dot }) => dot > 0).map(({ dot }) => dot),
    )
    if (lazy !== undefined)
      expect(normalized(jsonLike(decoded.passThrough, describeObject))).toEqual(normalized(lazy))
    if (vector.name.startsWith('ref_lazy'))
      expect(encodedAgain(decoded.passThrough, vector)).toBe(vector.hex)
  })
})

interface Exchange {
  readonly from: string
  readonly kind: string
  readonly payload_hex?: string
}

interface Transfer {
  readonly name: string
  readonly message_hex: string
  readonly exchange: readonly Exchange[]
  readonly result: unknown
}

const { transfers } = readVectors<{ transfers: Transfer[] }>('fobs-download')

describe('downloads', () => {
  it.each(transfers)('completes $name from the recorded replies', (transfer) => {
    const decoded = decode(bytesOf(transfer.message_hex), computing, { floats: 'marked' })
    const kinds = [numpyReference, torchReference]
    const items = new Map<string, unknown>()
    const byKind = new Map(kinds.map(({ dot }) => [dot, new Map<string, unknown>()]))
    const dots = transfer.exchange.flatMap(({ kind, payload_hex: hex }) => {
      if (kind !== 'request' || hex === undefined) return []
      const request = decode(bytesOf(hex), network).passThrough
      const refId = request instanceof Map ? request.get('ref_id') : undefined
      return [decoded.references.find((reference) => reference.refId === refId)?.dot]
    })
    for (const { kind, payload_hex: hex } of transfer.exchange) {
      if (kind !== 'reply' || hex === undefined) continue
      const dot = dots.shift()
      const reply = decode(bytesOf(hex), network).passThrough
      const data = reply instanceof Map ? (reply.get('data') ?? []) : []
      const reference = kinds.find((candidate) => candidate.dot === dot)
      for (const piece of Array.isArray(data) ? data : [])
        for (const [id, item] of reference?.decodeItem(piece as Uint8Array, NO_LIMITS) ?? [])
          byKind.get(dot ?? 0)?.set(id, item)
    }
    for (const reference of decoded.references)
      expect([...(byKind.get(reference.dot) ?? items).keys()]).toEqual([...reference.itemIds])
    const value = decoded.complete((dot) => byKind.get(dot) ?? items)
    expect(inCOrder(jsonLike(value, describeObject))).toEqual(inCOrder(transfer.result))
  })

  it('fails on a missing item', () => {
    const [transfer] = transfers
    const decoded = decode(bytesOf(transfer!.message_hex), computing)
    expect(() => decoded.complete(() => new Map())).toThrow(
      expect.objectContaining({ code: 'ERR_FOBS_ITEM_MISSING' }),
    )
  })
})

const NO_LIMITS = {
  maxPayloadBytes: 1e9,
  maxSections: 100,
  maxDepth: 100,
  maxElements: 1e6,
  maxKeyBytes: 1e6,
  maxTextBytes: 1e6,
}

describe('invalid payloads', () => {
  const invalid = readVectors<InvalidVector[]>('fobs-invalid').filter(
    ({ kind }) => kind === 'decode',
  )

  it.each(invalid.filter(({ recommended }) => recommended === 'reject'))(
    'refuses $name with an error of ours',
    ({ hex }) => expect(() => decode(bytesOf(hex), network)).toThrow(FobsError),
  )

  it.each(invalid.filter(({ recommended }) => recommended === 'accept'))(
    'accepts $name',
    ({ hex, upstream }) => {
      const { passThrough } = decode(bytesOf(hex), network, { floats: 'marked' })
      if (upstream.outcome === 'accepted')
        expect(inCOrder(jsonLike(passThrough, describeObject))).toEqual(inCOrder(upstream.result))
    },
  )

  it.each(invalid.filter(({ recommended }) => recommended === 'either'))(
    'decides on $name without another error',
    ({ hex }) => {
      try {
        decode(bytesOf(hex), network)
      } catch (error) {
        expect(error).toBeInstanceOf(FobsError)
      }
    },
  )

  it('refuses the shapes of stored types as well', () => {
    const names = invalid.filter(({ name }) => /^(dataclass|proto_in_data|workspace)/.test(name))
    for (const { name, hex } of names)
      if (name !== 'workspace_missing')
        expect(() => decode(bytesOf(hex), computing), name).toThrow(
          expect.objectContaining({ code: 'ERR_FOBS_SHAPE' }),
        )
  })
})

function encodedAgain(value: FobsValue, vector: FobsVector): string {
  const ids = vector.sections.flatMap(({ datum_id: id }) => (id === undefined ? [] : [id]))
  const { parts } = encode(value, relaying, {
    datumThreshold: vector.threshold,
    createDatumId: () => ids.shift() ?? 'none left',
  })
  return hexOf(parts)
}

function describeObject(value: object, describeValue: (value: FobsValue) => unknown): unknown {
  const pairs = (map: ReadonlyMap<FobsValue, FobsValue>): unknown[] =>
    Array.from(map, ([key, item]) => [describeValue(key), describeValue(item)])
  const named = (type: string, fields: string[], values: FobsValue[]): unknown => ({
    $namedtuple: `nvflare.app_common.abstract.statistics_spec.${type}`,
    fields,
    values: values.map(describeValue),
  })
  if (value instanceof Shareable)
    return {
      $dict: 'nvflare.apis.shareable.Shareable',
      items: pairs(
        new Map<FobsValue, FobsValue>([['__headers__', value.headers], ...value.content]),
      ),
    }
  if (value instanceof DictValue) return { $dict: value.typeName, items: pairs(value.entries) }
  if (value instanceof FLContext)
    return {
      $flcontext: {
        model: value.model,
        props: describeValue(
          new Map(Array.from(value.props, ([name, prop]) => [name, new Map(Object.entries(prop))])),
        ),
      },
    }
  if (value instanceof AdminMessage)
    return {
      $object: 'nvflare.private.admin_defs.Message',
      attrs: pairs(
        new Map<FobsValue, FobsValue>([
          ['id', value.id],
          ['topic', value.topic],
          ['body', value.body],
          ['headers', value.headers],
        ]),
      ),
    }
  if (value instanceof ClientRecord)
    return {
      $object: 'nvflare.apis.client.Client',
      attrs: pairs(
        new Map<FobsValue, FobsValue>([
          ['name', value.name],
          ['token', value.token],
          ['last_connect_time', value.lastConnectTime],
          ['props', value.props],
        ]),
      ),
    }
  if (value instanceof WorkspacePaths)
    return { $workspace: [value.rootFolder, value.siteName, value.configFolder] }
  if (value instanceof NumpyScalar)
    return {
      $npscalar: value.dtype,
      value: value.dtype.startsWith('float')
        ? floatLike(Number(value.value))
        : describeValue(value.value),
    }
  if (value instanceof RawArray)
    return {
      $ndarray: {
        dtype: descrLike(value.descr),
        shape: value.shape,
        fortran_order: value.fortranOrder,
        data: Buffer.from(value.data).toString('hex'),
      },
    }
  if (value instanceof Tensor)
    return value.framework === 'torch'
      ? {
          $tensor: {
            dtype: SAFETENSORS_NAMES.get(value.dtype),
            shape: value.shape,
            data: Buffer.from(tensorBytes(value)).toString('hex'),
          },
        }
      : {
          $ndarray: {
            dtype: `<${value.dtype}`,
            shape: value.shape,
            data: Buffer.from(tensorBytes(value)).toString('hex'),
          },
        }
  if (value instanceof DxoObject)
    return {
      $dxo: {
        data_kind: describeValue(value.dataKind),
        data: describeValue(value.data),
        meta: describeValue(value.meta),
      },
    }
  if (value instanceof FLModelObject) {
    const { fields } = value
    return {
      $flmodel: {
        params_type: describeValue(fields.paramsType),
        params: describeValue(fields.params),
        optimizer_params: describeValue(fields.optimizerParams),
        metrics: describeValue(fields.metrics),
        start_round: fields.startRound,
        current_round: fields.currentRound,
        total_rounds: fields.totalRounds,
        meta: describeValue(fields.meta),
      },
    }
  }
  if (value instanceof StatisticConfig)
    return named('StatisticConfig', ['name', 'config'], [value.name, value.config])
  if (value instanceof Feature)
    return named('Feature', ['feature_name', 'data_type'], [value.name, value.dataType])
  if (value instanceof Bin)
    return named(
      'Bin',
      ['low_value', 'high_value', 'sample_count'],
      [value.low, value.high, value.count],
    )
  if (value instanceof BinRange)
    return named('BinRange', ['min_value', 'max_value'], [value.min, value.max])
  if (value instanceof Histogram)
    return named(
      'Histogram',
      ['hist_type', 'bins', 'hist_name'],
      [value.type, [...value.bins], value.name],
    )
  if (value instanceof CkksVector)
    return {
      $ckks: { vector: describeValue(value.vector), context: describeValue(value.context) },
    }
  throw new Error(`no notation for ${value.constructor.name}`)
}

const SAFETENSORS_NAMES = new Map<string, string>([
  ['float32', 'F32'],
  ['float64', 'F64'],
  ['float16', 'F16'],
  ['bfloat16', 'BF16'],
  ['int8', 'I8'],
  ['uint8', 'U8'],
  ['int16', 'I16'],
  ['int32', 'I32'],
  ['int64', 'I64'],
  ['bool', 'BOOL'],
])

function descrLike(descr: unknown): unknown {
  if (Array.isArray(descr)) return descr.map(descrLike)
  if (typeof descr === 'object' && descr !== null && 'tuple' in descr && Array.isArray(descr.tuple))
    return descr.tuple.map(descrLike)
  return descr
}

const TENSOR_NAMES = new Map([
  ['b1', 'bool'],
  ['i1', 'int8'],
  ['i2', 'int16'],
  ['i4', 'int32'],
  ['i8', 'int64'],
  ['u1', 'uint8'],
  ['u2', 'uint16'],
  ['u4', 'uint32'],
  ['u8', 'uint64'],
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
  ['c8', 'complex64'],
  ['c16', 'complex128'],
])

/** The notation with arrays of a tensor's types in C order and little-endian, as tensors hold them. */
function inCOrder(like: unknown): unknown {
  if (Array.isArray(like)) return like.map(inCOrder)
  if (typeof like !== 'object' || like === null) return normalized(like)
  if (!('$ndarray' in like))
    return normalized(
      Object.fromEntries(Object.entries(like).map(([key, item]) => [key, inCOrder(item)])),
    )
  const array = like.$ndarray as {
    dtype: unknown
    shape: number[]
    fortran_order?: boolean
    data: string
  }
  const name = typeof array.dtype === 'string' ? TENSOR_NAMES.get(array.dtype.slice(1)) : undefined
  if (array.fortran_order === undefined || name === undefined)
    return { $ndarray: { ...array, values_c_order: 0 } }
  const count = array.shape.reduce((product, size) => product * size, 1)
  const bytes = Buffer.from(array.data, 'hex')
  const size = count === 0 ? 1 : bytes.length / count
  const word = name.startsWith('complex') ? size / 2 : size
  if (String(array.dtype).startsWith('>'))
    for (let at = 0; at < bytes.length; at += word) bytes.subarray(at, at + word).reverse()
  const data = array.fortran_order ? fromFortran(bytes, array.shape, size) : bytes
  return {
    $ndarray: {
      dtype: `<${name}`,
      shape: array.shape,
      data: data.toString('hex'),
      values_c_order: 0,
    },
  }
}

/** The slow, obvious way: each element's place in the file from its index. */
function fromFortran(bytes: Buffer, shape: readonly number[], size: number): Buffer {
  const out = Buffer.alloc(bytes.length)
  for (let to = 0; to < bytes.length / size; to++) {
    let rest = to
    const index = [...shape].map(() => 0)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis]!
      rest = Math.floor(rest / shape[axis]!)
    }
    let from = 0
    for (let axis = shape.length - 1; axis >= 0; axis--) from = from * shape[axis]! + index[axis]!
    bytes.copy(out, to * size, from * size, from * size + size)
  }
  return out
}
