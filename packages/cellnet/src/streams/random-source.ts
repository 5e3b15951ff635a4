/** Where ids and nonces come from: `length` bytes that nobody can predict. */
export type RandomSource = (length: number) => Uint8Array

/** A version 4 UUID in lower case. */
export function randomUuid(random: RandomSource): string {
  const bytes = random(16)
  const text = [...bytes]
    .map((byte, index) => {
      const value = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte
      return value.toString(16).padStart(2, '0')
    })
    .join('')
  return [
    text.slice(0, 8),
    text.slice(8, 12),
    text.slice(12, 16),
    text.slice(16, 20),
    text.slice(20),
  ].join('-')
}

/** 128 random bits as 32 hexadecimal digits. */
export function randomNonce(random: RandomSource): string {
  return [...random(16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A random integer of 52 bits: larger than 2³², exact as a number (`spec/streaming.md` §3, `sm__id`). */
export function randomStreamId(random: RandomSource): number {
  const bytes = random(7)
  let value = bytes[0]! & 0x0f
  for (let index = 1; index < 7; index++) value = value * 256 + bytes[index]!
  return value
}
