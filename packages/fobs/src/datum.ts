import { FobsError } from './fobs-error.ts'

export type DatumType = 'text' | 'blob' | 'file'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const ID_BYTES = 16

/**
 * A value that its application put outside the main section on purpose and that is a `Datum` again on the other
 * side. Large values move out and back by themselves; they need none.
 */
export class Datum {
  /** UUID in lower case. */
  readonly id: string
  readonly type: DatumType
  /** A text, or the bytes of a blob or file. Never empty: stock cannot read empty datums. */
  readonly value: string | Uint8Array

  /** @throws {FobsError} `ERR_FOBS_DATUM` */
  constructor(id: string, type: DatumType, value: string | Uint8Array) {
    if (!UUID.test(id)) throw new FobsError('ERR_FOBS_DATUM', 'a datum id must be a UUID')
    if ((typeof value === 'string') !== (type === 'text'))
      throw new FobsError(
        'ERR_FOBS_DATUM',
        `a ${type} datum must hold ${type === 'text' ? 'a text' : 'bytes'}`,
      )
    if (value.length === 0) throw new FobsError('ERR_FOBS_DATUM', 'a datum must not be empty')
    this.id = id
    this.type = type
    this.value = value
  }
}

/** 16 bytes in the UUID's canonical order. */
export function datumIdBytes(id: string): Uint8Array {
  const digits = id.replaceAll('-', '')
  return Uint8Array.from({ length: ID_BYTES }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  )
}

/** The UUID of 16 bytes, lower case. */
export function datumIdText(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
