import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { HeaderValue } from '../../src/headers.ts'

/** One captured cell message of a scenario. */
export interface VectorMessage {
  readonly name: string
  readonly origin: string
  readonly destination: string
  readonly topic: string
  readonly headers: Map<string, HeaderValue>
  readonly payload: Uint8Array
}

interface RawVector {
  readonly name: string
  readonly hex?: string
  readonly gzip_base64?: string
  readonly decoded: { readonly headers: Record<string, unknown> | null }
}

const path = new URL('../../../../vectors/sfm.json', import.meta.url)
const all: readonly RawVector[] = JSON.parse(readFileSync(path, 'utf8'))

/** The messages of one scenario of `vectors/sfm.json`, in the order of capture. */
export function scenario(name: string): VectorMessage[] {
  const found = all.filter((vector) => vector.name.startsWith(`${name}/`))
  if (found.length === 0) throw new Error(`no scenario ${name}`)
  return found.map((vector) => {
    const frame = vector.hex
      ? Buffer.from(vector.hex, 'hex')
      : gunzipSync(Buffer.from(vector.gzip_base64 ?? '', 'base64'))
    const headers = new Map(
      Object.entries(vector.decoded.headers ?? {}).map(([key, value]) => [key, headerOf(value)]),
    )
    return {
      name: vector.name,
      origin: String(headers.get('cn__origin')),
      destination: String(headers.get('cn__destination')),
      topic: String(headers.get('cn__topic')),
      headers,
      payload: new Uint8Array(frame.subarray(16 + frame.readUInt16BE(4))),
    }
  })
}

function headerOf(value: unknown): HeaderValue {
  if (Array.isArray(value)) return value.map(headerOf)
  return value as HeaderValue // JSON without objects: texts, numbers, booleans, null
}
