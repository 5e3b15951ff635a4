import type { FrameProofs } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import type { Frame } from './frame.ts'
import type { SendQueue } from './send-queue.ts'

/** What only the dialler of a link can see of it. */
export interface DiallerReport {
  /** Key-exchange group of TLS, e.g. `X25519MLKEM768`. */
  readonly keyExchange?: string | undefined
}

/** Message proofs of one link, from the offer in the greeting to the code on every message. */
export interface PeerLinkProofs {
  /** Both ends offered them; the link stays closed to everything but a login until it is opened. */
  readonly offered: boolean
  /** Every message carries its code, both ways. */
  readonly active: boolean
  /** What the dialler said of its end, signed with the login. */
  readonly report: DiallerReport
  /** For the listener: ready to be used when the first message with a code arrives. Replaces what was staged before. */
  stage(proofs: FrameProofs, report: DiallerReport): void
  /** For the dialler: uses them from the next message on. */
  start(proofs: FrameProofs): void
}

/**
 * Checks the codes of one link. Messages without a code pass until there are proofs, and never again after that.
 *
 *     none ──stage──▶ staged ──first valid code──▶ active
 *       └───────────────start─────────────────────▶
 */
export class LinkProofs implements PeerLinkProofs {
  readonly offered: boolean
  readonly #queue: SendQueue
  #report: DiallerReport = {}
  #staged: FrameProofs | undefined
  #active: FrameProofs | undefined

  constructor(offered: boolean, queue: SendQueue) {
    this.offered = offered
    this.#queue = queue
  }

  get active(): boolean {
    return this.#active !== undefined
  }

  get report(): DiallerReport {
    return this.#report
  }

  stage(proofs: FrameProofs, report: DiallerReport): void {
    if (this.#active !== undefined) return
    this.#staged = proofs
    this.#report = report
  }

  start(proofs: FrameProofs): void {
    if (this.#active !== undefined) throw new TypeError('this link has proofs already')
    this.#active = proofs
    this.#queue.prove(proofs)
  }

  /** @throws {CellError} `ERR_PROOF`: somebody else wrote, changed, moved or left out a message */
  check({ proven, prefix, headers, payload, code }: Frame): void {
    const proofs = this.#active ?? (proven === true ? this.#staged : undefined)
    if (proofs === undefined) {
      if (proven !== true) return
      throw new CellError('ERR_PROOF', 'a message carries a code, but no keys were agreed on')
    }
    if (proven !== true)
      throw new CellError('ERR_PROOF', 'a message carries no code, though all must')
    const parts = proofs.coversPayload ? [prefix, headers, payload] : [prefix, headers]
    if (!proofs.verify(parts, code))
      throw new CellError(
        'ERR_PROOF',
        "a message's code does not hold: it was made up, changed, doubled, moved, or one before it is missing",
      )
    if (this.#active === undefined) this.start(proofs)
  }
}
