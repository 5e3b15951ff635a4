/**
 * Proofs that frames of one link come from who logged in over it: a code over each, under keys that only the two ends
 * know (`docs/security/messages.md`). Each direction has a key and a count of its own; a frame that was made up,
 * changed, left out, doubled or moved has no valid code. Synchronous, for every message needs one.
 */
export interface FrameProofs {
  /** Whether codes cover payloads. They need not where TLS ends at the verifier and covers them. */
  readonly coversPayload: boolean
  /**
   * Code for the next frame that leaves, of {@link FRAME_CODE_BYTES}.
   * @param parts prefix, headers and, if covered, payload; borrowed for the call
   */
  seal(parts: readonly Uint8Array[]): Uint8Array
  /** Whether `code` belongs to the next frame that arrives. After a `false` no other frame can be valid. */
  verify(parts: readonly Uint8Array[], code: Uint8Array): boolean
}

/** Length of a frame's code. */
export const FRAME_CODE_BYTES = 16
