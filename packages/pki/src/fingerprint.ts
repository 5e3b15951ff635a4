import { createHash } from 'node:crypto'

/** SHA-256 of `bytes` in lower-case hexadecimal. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** The form people compare by eye: `SHA256:AB:CD:…` from lower-case hexadecimal (`spec/provision.md` §7). */
export function formatFingerprint(hex: string): string {
  return `SHA256:${(hex.toUpperCase().match(/../g) ?? []).join(':')}`
}
