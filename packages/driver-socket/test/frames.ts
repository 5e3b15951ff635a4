/** A frame with the given body: 16 bytes of prefix whose first four hold the length. */
export function frameOf(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(16 + body.length)
  new DataView(frame.buffer).setUint32(0, frame.length)
  frame.set(body, 16)
  return frame
}

/** A frame of `length` bytes in all, filled with a pattern. */
export function patternFrame(length: number): Uint8Array {
  const body = new Uint8Array(length - 16)
  for (let i = 0; i < body.length; i++) body[i] = (7 * i + (i >> 8)) & 255
  return frameOf(body)
}
