import type { Clock } from '@hanse/contract'

/** What becomes of a server or a site that a person ended. */
export type PlaceEnd = 'stop' | 'restart'

/** Time for the answer to whoever asked for the end. */
const ANSWER_MS = 500

/** The end of a place: its process's signal, or a person's command a moment later. */
export class PlaceEnding implements Disposable {
  readonly #clock: Clock
  readonly #end = new AbortController()
  readonly #outer: AbortSignal
  readonly #onOuter: () => void
  #how: PlaceEnd = 'stop'
  #timer: Disposable | undefined

  constructor(clock: Clock, outer: AbortSignal) {
    this.#clock = clock
    this.#outer = outer
    this.#onOuter = () => {
      this.#how = 'stop'
      this.#end.abort(outer.reason)
    }
    if (outer.aborted) this.#onOuter()
    else outer.addEventListener('abort', this.#onOuter, { once: true })
  }

  /** Fires when the place has to end. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  get how(): PlaceEnd {
    return this.#how
  }

  /** Ends the place a moment later. The first that asks decides how, unless the process itself is told to stop. */
  end(how: PlaceEnd): void {
    if (this.#timer !== undefined || this.#end.signal.aborted) return
    this.#how = how
    this.#timer = this.#clock.setTimer(ANSWER_MS, () =>
      this.#end.abort(new Error(`a person asked for a ${how}`)),
    )
  }

  [Symbol.dispose](): void {
    this.#outer.removeEventListener('abort', this.#onOuter)
    this.#timer?.[Symbol.dispose]()
  }
}
