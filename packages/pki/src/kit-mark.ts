import { DerReader, DerTag, derSequence, derUnsigned, derUtf8 } from './der.ts'
import { PkiError } from './pki-error.ts'

/** What kind of participant a certificate was issued to. */
export type ParticipantType = 'server' | 'site' | 'admin'

/**
 * Content of the private extension in certificates of Hanse kits: the kit must carry a signed manifest, and its
 * holder is of this type. DER: `SEQUENCE { version INTEGER (1), type UTF8String }`, not critical, so that other
 * software passes over it.
 */
export interface KitMark {
  readonly version: number
  readonly type: ParticipantType
}

const TYPES: readonly ParticipantType[] = ['server', 'site', 'admin']

export function encodeKitMark(mark: KitMark): Uint8Array {
  return derSequence(derUnsigned(Uint8Array.of(mark.version)), derUtf8(mark.type))
}

/** @throws {PkiError} `ERR_CERT_FORMAT`; also for later versions, whose promises we would not keep */
export function parseKitMark(value: Uint8Array): KitMark {
  const reader = new DerReader(value)
  const fields = reader.enter(DerTag.sequence)
  reader.end()
  const version = fields.read(DerTag.integer).content
  const name = new TextDecoder().decode(fields.read(DerTag.utf8String).content)
  fields.end()
  const type = TYPES.find((candidate) => candidate === name)
  if (version.length !== 1 || version[0] !== 1 || type === undefined)
    throw new PkiError('ERR_CERT_FORMAT', 'the certificate has a kit mark that we do not know')
  return { version: 1, type }
}
