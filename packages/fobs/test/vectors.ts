import { readFileSync } from 'node:fs'

export interface FobsVector {
  readonly name: string
  readonly group: string
  readonly hex: string
  readonly json_like: unknown
  readonly lazy_json_like?: unknown
  readonly threshold?: number
  readonly sections: readonly { readonly datum_id?: string; readonly dot: number }[]
  readonly exact: boolean
}

export interface InvalidVector {
  readonly name: string
  readonly kind: 'decode' | 'encode'
  readonly hex: string
  readonly recommended: 'reject' | 'accept' | 'either'
  readonly upstream: { readonly outcome: string; readonly result?: unknown }
}

/** Parses one of the files in `vectors/fobs/`. */
export function readVectors<T>(name: string): T {
  const url = new URL(`../../../vectors/fobs/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')) as T
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

export function hexOf(parts: Uint8Array | readonly Uint8Array[]): string {
  return Buffer.concat(parts instanceof Uint8Array ? [parts] : parts).toString('hex')
}
