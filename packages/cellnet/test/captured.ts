import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

export interface CapturedFrame {
  readonly name: string
  readonly capture: string
  readonly connection: number
  readonly direction: 'active->passive' | 'passive->active'
  readonly bytes: Uint8Array
  readonly decoded: {
    readonly prefix: {
      readonly type: number
      readonly app_id: number
      readonly stream_id: number
      readonly sequence: number
    }
    readonly headers: Record<string, unknown> | null
    readonly payload_len?: number
    readonly payload_hex?: string
  }
}

interface Entry extends Omit<CapturedFrame, 'bytes'> {
  readonly hex?: string
  readonly gzip_base64?: string
}

const url = new URL('../../../vectors/sfm.json', import.meta.url)

/** Frames between stock cells, in the order of capture. */
export const capturedFrames: readonly CapturedFrame[] = (
  JSON.parse(readFileSync(url, 'utf8')) as Entry[]
).map(({ hex, gzip_base64, ...frame }) => ({
  ...frame,
  bytes: new Uint8Array(
    hex === undefined
      ? gunzipSync(Buffer.from(gzip_base64 ?? '', 'base64'))
      : Buffer.from(hex, 'hex'),
  ),
}))

/** The frames of one scenario. */
export function captured(scenario: string): CapturedFrame[] {
  const frames = capturedFrames.filter(({ name }) => name.startsWith(`${scenario}/`))
  if (frames.length === 0) throw new Error(`no vectors named ${scenario}`)
  return frames
}
