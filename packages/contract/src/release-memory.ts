/**
 * Frees the memory under `bytes` at once, if nothing else lies in it; otherwise that is left to the garbage
 * collector. For owners of long buffers that are done with them: collecting them costs a walk through the whole
 * heap every few megabytes. All views on the memory are empty afterwards, so a forgotten one shows nobody's data.
 */
export function releaseMemory(bytes: Uint8Array): void {
  const { buffer } = bytes
  if (!(buffer instanceof ArrayBuffer) || bytes.length !== buffer.byteLength) return
  if (bytes.length > 0) buffer.transfer(0)
}
