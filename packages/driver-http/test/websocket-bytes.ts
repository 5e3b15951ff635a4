import { createHash } from 'node:crypto'

export interface WireFrame {
  readonly opcode: number
  readonly fin: boolean
  readonly rsv: number
  readonly masked: boolean
  readonly payload: Buffer
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameOptions {
  readonly opcode?: number
  readonly fin?: boolean
  readonly rsv?: number
  readonly masked?: boolean
  /** Length to claim, when it is not that of the payload. */
  readonly claims?: number
}

/** One frame of RFC 6455 §5.2, well formed or not. */
export function wireFrame(
  payload: Uint8Array,
  { opcode = OPCODE.binary, fin = true, rsv = 0, masked = true, claims }: FrameOptions = {},
): Buffer {
  const length = claims ?? payload.length
  const mask = Uint8Array.of(1, 2, 3, 4)
  const head: number[] = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
  const flag = masked ? 0x80 : 0
  if (length < 126) head.push(flag | length)
  else if (length < 65_536) head.push(flag | 126, length >> 8, length & 255)
  else {
    const long = Buffer.alloc(8)
    long.writeBigUInt64BE(BigInt(length))
    head.push(flag | 127, ...long)
  }
  if (!masked) return Buffer.concat([Uint8Array.from(head), payload])
  const covered = payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0))
  return Buffer.concat([Uint8Array.from(head), mask, covered])
}

/** The frames in `bytes`, without their masks; what is not whole is left out. */
export function readWireFrames(bytes: Buffer): WireFrame[] {
  const frames: WireFrame[] = []
  let at = 0
  while (at + 2 <= bytes.length) {
    const first = bytes[at] ?? 0
    const second = bytes[at + 1] ?? 0
    let length = second & 127
    let start = at + 2
    if (length >= 126 && start + 8 > bytes.length) break
    if (length === 126) {
      length = bytes.readUInt16BE(start)
      start += 2
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(start))
      start += 8
    }
    const masked = second >= 128
    const mask = masked ? bytes.subarray(start, start + 4) : undefined
    if (masked) start += 4
    if (start + length > bytes.length) break
    const payload = Buffer.from(bytes.subarray(start, start + length))
    if (mask !== undefined)
      for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0)
    frames.push({ opcode: first & 15, fin: first >= 128, rsv: (first >> 4) & 7, masked, payload })
    at = start + length
  }
  return frames
}

/** Splits an HTTP head from what follows it. */
export function splitHead(bytes: Buffer): { head: string; rest: Buffer } | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  return { head: bytes.toString('latin1', 0, end), rest: bytes.subarray(end + 4) }
}

export function acceptKey(request: string): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(request)?.[1] ?? ''
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** The upgrade request that stock diallers send, with changes. */
export function upgradeRequest(
  changes: Readonly<Record<string, string | undefined>> = {},
  line = 'GET /f3 HTTP/1.1',
): string {
  const headers: Record<string, string | undefined> = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'tCENOv2s7fYM9LvGCUnzqg==',
    ...changes,
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  )
  return `${[line, ...lines].join('\r\n')}\r\n\r\n`
}
