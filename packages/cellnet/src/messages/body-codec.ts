import { messageOf as textOf } from '@hanse/contract'
import { decode, encode, type FobsRegistry, type FobsValue } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'

/** A body as it travels (`spec/transport.md` §5.3). */
export interface EncodedBody {
  readonly encoding: 'none' | 'bytes' | 'fobs'
  readonly parts: readonly Uint8Array[]
  readonly length: number
}

/** Encodes natively: a plain message has no place for parts that must be downloaded. */
export function encodeBody(body: unknown, registry: FobsRegistry): EncodedBody {
  if (body === undefined || body === null) return { encoding: 'none', parts: [], length: 0 }
  if (body instanceof Uint8Array) return { encoding: 'bytes', parts: [body], length: body.length }
  const { parts } = encode(body, registry)
  return { encoding: 'fobs', parts, length: parts.reduce((sum, part) => sum + part.length, 0) }
}

/**
 * Decodes a plain message's body. An empty payload is null whatever its label.
 * @throws {CellError} `ERR_BODY`
 */
export function decodeBody(
  payload: Uint8Array,
  encoding: string | undefined,
  registry: FobsRegistry,
): FobsValue {
  if (payload.length === 0) return null
  switch (encoding) {
    case 'bytes':
    case undefined:
      return payload
    case 'none':
      throw new CellError('ERR_BODY', `a body labelled none has ${payload.length} bytes`)
    case 'fobs':
      return decodeFobs(payload, registry)
    default:
      throw new CellError('ERR_BODY', 'the payload encoding is not known')
  }
}

function decodeFobs(payload: Uint8Array, registry: FobsRegistry): FobsValue {
  try {
    const decoded = decode(payload, registry)
    if (decoded.references.length > 0)
      throw new CellError('ERR_BODY', 'a plain message refers to parts that must be downloaded')
    return decoded.complete(() => new Map())
  } catch (cause) {
    throw new CellError('ERR_BODY', `the body cannot be decoded: ${textOf(cause)}`, {}, { cause })
  }
}
