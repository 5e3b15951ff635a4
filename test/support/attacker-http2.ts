/** Types of frames; RFC 9113 §6. */
export const H2 = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { ack: 1, endStream: 1, endHeaders: 4, padded: 8 } as const

/** What every client says first; RFC 9113 §3.4. */
export const PREFACE: Uint8Array = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const CALL: Readonly<Record<string, string>> = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/streamer.Streamer/Stream',
  ':authority': 'localhost',
  'content-type': 'application/grpc',
  te: 'trailers',
}

/** One frame; `claims` lies about its length. */
export function h2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
  claims = payload.length,
): Uint8Array {
  const frame = Buffer.alloc(9 + payload.length)
  frame.writeUIntBE(claims, 0, 3)
  frame[3] = type
  frame[4] = flags
  frame.writeUInt32BE(stream, 5)
  frame.set(payload, 9)
  return frame
}

/** Headers without compression, not kept in any table; RFC 7541 §6.2.2. */
export function literalHeaders(headers: Readonly<Record<string, string>>): Uint8Array {
  return Buffer.concat(
    Object.entries(headers).map(([name, value]) =>
      Buffer.concat([Uint8Array.of(0), literal(name), literal(value)]),
    ),
  )
}

function literal(text: string): Uint8Array {
  return Buffer.concat([hpackInteger(text.length, 7, 0), Buffer.from(text, 'latin1')])
}

/** An integer with a prefix of `bits`; RFC 7541 §5.1. */
export function hpackInteger(value: number, bits: number, flags: number): Uint8Array {
  const most = 2 ** bits - 1
  if (value < most) return Uint8Array.of(flags | value)
  const bytes = [flags | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Uint8Array.of(...bytes, rest)
}

/** A gRPC message around `content`; `claims` lies about its length. */
export function grpcMessage(
  content: Uint8Array,
  { claims = content.length, compressed = 0 } = {},
): Uint8Array {
  const message = Buffer.alloc(5 + content.length)
  message[0] = compressed
  message.writeUInt32BE(claims, 1)
  message.set(content, 5)
  return message
}

/** The message `Frame` of the service around `frame`, which is shorter than 16 KiB. */
export function frameMessage(frame: Uint8Array): Uint8Array {
  const { length } = frame
  const head = Uint8Array.of(0x08, 1, 0x12, (length & 127) | 128, length >> 7)
  return grpcMessage(Buffer.concat([head, frame]))
}

/** Opens a call on `stream`. */
export function callFrame(
  stream: number,
  changes: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { headers } = H2
  return h2Frame(headers, FLAG.endHeaders, stream, literalHeaders({ ...CALL, ...changes }))
}
