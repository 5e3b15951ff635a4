import { PkiError } from './pki-error.ts'

/** One element of DER: its tag octet, its content and its whole encoding, both views on the input. */
export interface DerElement {
  readonly tag: number
  readonly content: Uint8Array
  readonly encoded: Uint8Array
}

/** Tag octets that certificates use. */
export const DerTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** Context-specific tag octet `[number]`. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number
}

/** Encodes one element; parts are concatenated as its content. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const header = [tag]
  if (length < 0x80) header.push(length)
  else {
    const octets: number[] = []
    for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest & 0xff)
    header.push(0x80 | octets.length, ...octets)
  }
  const encoded = new Uint8Array(header.length + length)
  encoded.set(header)
  let offset = header.length
  for (const part of parts) {
    encoded.set(part, offset)
    offset += part.length
  }
  return encoded
}

export function derSequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(DerTag.sequence, ...parts)
}

/** A non-negative INTEGER from its big-endian magnitude. */
export function derUnsigned(magnitude: Uint8Array): Uint8Array {
  let start = 0
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++
  const trimmed = magnitude.subarray(start)
  const first = trimmed[0]
  if (first === undefined) return der(DerTag.integer, Uint8Array.of(0))
  return first < 0x80
    ? der(DerTag.integer, trimmed)
    : der(DerTag.integer, Uint8Array.of(0), trimmed)
}

export function derUtf8(text: string): Uint8Array {
  return der(DerTag.utf8String, new TextEncoder().encode(text))
}

/** OBJECT IDENTIFIER from dotted text; arcs may be of any size (`2.25.<UUID>`). */
export function derObjectIdentifier(dotted: string): Uint8Array {
  const [first = 0n, second = 0n, ...rest] = dotted.split('.').map((arc) => BigInt(arc))
  const octets: number[] = []
  for (const arc of [first * 40n + second, ...rest]) {
    const group = [Number(arc & 0x7fn)]
    for (let more = arc >> 7n; more > 0n; more >>= 7n) group.unshift(0x80 | Number(more & 0x7fn))
    octets.push(...group)
  }
  return der(DerTag.objectIdentifier, Uint8Array.from(octets))
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5); whole seconds, the rest is cut. */
export function derTime(time: number): Uint8Array {
  const iso = new Date(time).toISOString() // YYYY-MM-DDTHH:MM:SS.sssZ
  const digits = `${iso.slice(0, 19).replace(/[-:T]/g, '')}Z`
  const ascii = (text: string) => new TextEncoder().encode(text)
  return new Date(time).getUTCFullYear() < 2050
    ? der(DerTag.utcTime, ascii(digits.slice(2)))
    : der(DerTag.generalizedTime, ascii(digits))
}

/**
 * Reads elements one after another. Strict: definite lengths in their shortest form, one-octet tags, nothing
 * past the end.
 */
export class DerReader {
  readonly #bytes: Uint8Array
  #offset = 0

  /** @param bytes borrowed; what is returned are views on it */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#offset === this.#bytes.length
  }

  /** Tag of the next element, `undefined` at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset]
  }

  /**
   * @param expectedTag refuse any other
   * @throws {PkiError} `ERR_CERT_FORMAT`
   */
  read(expectedTag?: number): DerElement {
    const start = this.#offset
    const tag = this.#octet()
    if ((tag & 0x1f) === 0x1f) throw malformed('a tag of more than one octet')
    if (expectedTag !== undefined && tag !== expectedTag)
      throw malformed(`tag ${hex(tag)} where ${hex(expectedTag)} belongs`)
    let length = this.#octet()
    if (length >= 0x80) {
      const count = length & 0x7f
      if (count === 0 || count > 3) throw malformed('a length of an unsupported form')
      length = 0
      for (let i = 0; i < count; i++) length = length * 256 + this.#octet()
      const shortest = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : 3
      if (shortest !== count) throw malformed('a length that is longer than needed')
    }
    const contentStart = this.#offset
    if (length > this.#bytes.length - contentStart) throw malformed('an element past the end')
    this.#offset = contentStart + length
    return {
      tag,
      content: this.#bytes.subarray(contentStart, this.#offset),
      encoded: this.#bytes.subarray(start, this.#offset),
    }
  }

  /** Reads a constructed element and returns a reader of its content. */
  enter(expectedTag: number): DerReader {
    return new DerReader(this.read(expectedTag).content)
  }

  /** @throws {PkiError} when something is left */
  end(): void {
    if (!this.done) throw malformed('bytes after the last element')
  }

  #octet(): number {
    const octet = this.#bytes[this.#offset]
    if (octet === undefined) throw malformed('an element past the end')
    this.#offset++
    return octet
  }
}

/** Dotted text of an OBJECT IDENTIFIER's content. */
export function readObjectIdentifier(content: Uint8Array): string {
  const arcs: bigint[] = []
  let arc = 0n
  let open = false
  for (const octet of content) {
    if (!open && octet === 0x80) throw malformed('an object identifier with padding')
    arc = (arc << 7n) | BigInt(octet & 0x7f)
    open = (octet & 0x80) !== 0
    if (!open) {
      arcs.push(arc)
      arc = 0n
    }
  }
  const first = arcs[0]
  if (open || first === undefined) throw malformed('an object identifier cut short')
  const root = first < 40n ? 0n : first < 80n ? 1n : 2n
  return [root, first - root * 40n, ...arcs.slice(1)].join('.')
}

/** Text of a directory string; `undefined` for types that cannot be read without guessing (Teletex). */
export function readDirectoryString(element: DerElement): string | undefined {
  switch (element.tag) {
    case DerTag.utf8String:
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(element.content)
      } catch {
        return undefined
      }
    case DerTag.printableString:
    case DerTag.ia5String:
      return element.content.every((octet) => octet < 0x80)
        ? String.fromCharCode(...element.content)
        : undefined
    default:
      return undefined
  }
}

function malformed(what: string): PkiError {
  return new PkiError('ERR_CERT_FORMAT', `the certificate is not valid DER: it has ${what}`)
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`
}
