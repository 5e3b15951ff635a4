import type { Clock } from '@hanse/contract'
import type { Session } from '../sfm/session.ts'
import type { CellMessage } from './cell-message.ts'

/** How a request to one target ended: a reply, or a failure seen here. */
export type RequestOutcome =
  | { readonly kind: 'reply'; readonly message: CellMessage }
  | {
      readonly kind: 'failed'
      readonly returnCode: 'timeout' | 'comm_error'
      readonly error: string
    }

interface Waiter {
  readonly session: Session | undefined
  readonly timer: Disposable
  readonly settle: (outcome: RequestOutcome) => void
}

/** Requests under way: by request id, then by target. */
export class RequestTable {
  readonly #clock: Clock
  readonly #maxWaiters: number
  readonly #waiters = new Map<string, Map<string, Waiter>>()
  #size = 0

  constructor(clock: Clock, maxWaiters: number) {
    this.#clock = clock
    this.#maxWaiters = maxWaiters
  }

  get size(): number {
    return this.#size
  }

  get isFull(): boolean {
    return this.#size >= this.#maxWaiters
  }

  /**
   * Waits for `target`'s reply.
   * @param session link the request goes out on: the reply comes back over it or not at all
   * @returns the outcome, and a way to stop waiting
   */
  wait(
    requestId: string,
    target: string,
    session: Session | undefined,
    timeoutMs: number,
  ): { outcome: Promise<RequestOutcome>; cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<RequestOutcome>()
    const timer = this.#clock.setTimer(timeoutMs, () =>
      this.#settle(requestId, target, {
        kind: 'failed',
        returnCode: 'timeout',
        error: `no reply within ${timeoutMs} ms`,
      }),
    )
    const targets = this.#waiters.get(requestId) ?? new Map<string, Waiter>()
    this.#waiters.set(requestId, targets)
    targets.set(target, { session, timer, settle: resolve })
    this.#size += 1
    return { outcome: promise, cancel: () => void this.#remove(requestId, target) }
  }

  /** Hands `message` to who waits for it; `false` if nobody does (late, or from another cell than was asked). */
  answer(requestId: string, target: string, message: CellMessage): boolean {
    // What could not be delivered comes back the way it went: anybody else could only make it up.
    if (message.type === 'return') {
      const waiter = this.#waiters.get(requestId)?.get(target)
      if (waiter === undefined || waiter.session !== message.session) return false
    }
    return this.#settle(requestId, target, { kind: 'reply', message })
  }

  /** Fails all that wait for a reply over `session`. */
  failVia(session: Session, error: string): void {
    for (const [requestId, targets] of [...this.#waiters])
      for (const [target, waiter] of [...targets])
        if (waiter.session === session)
          this.#settle(requestId, target, { kind: 'failed', returnCode: 'comm_error', error })
  }

  /** Fails all that wait for a reply of the cells that are meant. */
  failTo(isMeant: (target: string) => boolean, error: string): void {
    for (const [requestId, targets] of [...this.#waiters])
      for (const target of [...targets.keys()])
        if (isMeant(target))
          this.#settle(requestId, target, { kind: 'failed', returnCode: 'comm_error', error })
  }

  /** Fails everything: the cell is closing. */
  failAll(error: string): void {
    this.failTo(() => true, error)
  }

  #settle(requestId: string, target: string, outcome: RequestOutcome): boolean {
    const waiter = this.#remove(requestId, target)
    waiter?.settle(outcome)
    return waiter !== undefined
  }

  #remove(requestId: string, target: string): Waiter | undefined {
    const targets = this.#waiters.get(requestId)
    const waiter = targets?.get(target)
    if (targets === undefined || waiter === undefined) return undefined
    waiter.timer[Symbol.dispose]()
    targets.delete(target)
    if (targets.size === 0) this.#waiters.delete(requestId)
    this.#size -= 1
    return waiter
  }
}
