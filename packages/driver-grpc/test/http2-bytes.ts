const PREFACE_BYTES = 24
const DATA = 0
const PING = 6
const ACK = 1

export interface Http2Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** The frames of RFC 9113 §4.1 in `bytes`, which may begin with a client's preface; what is not whole is left out. */
export function readHttp2Frames(bytes: Buffer): Http2Frame[] {
  const frames: Http2Frame[] = []
  let at = bytes.subarray(0, 3).toString('latin1') === 'PRI' ? PREFACE_BYTES : 0
  while (at + 9 <= bytes.length) {
    const length = bytes.readUIntBE(at, 3)
    if (at + 9 + length > bytes.length) break
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return frames
}

/** What the DATA frames carry, joined. */
export function dataIn(bytes: Buffer): Buffer {
  return Buffer.concat(
    readHttp2Frames(bytes)
      .filter(({ type }) => type === DATA)
      .map(({ payload }) => payload),
  )
}

/** The bytes without answers to pings, which nobody asked in a replay. */
export function withoutPingAnswers(bytes: Buffer): Buffer {
  const kept: Buffer[] = []
  let at = bytes.subarray(0, 3).toString('latin1') === 'PRI' ? PREFACE_BYTES : 0
  kept.push(bytes.subarray(0, at))
  for (const { type, flags, payload } of readHttp2Frames(bytes)) {
    const end = at + 9 + payload.length
    if (type !== PING || flags !== ACK) kept.push(bytes.subarray(at, end))
    at = end
  }
  return Buffer.concat(kept)
}
