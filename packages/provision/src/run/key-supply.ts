import { availableParallelism } from 'node:os'
import { generatePrivateKey, type PrivateKey } from '@hanse/pki'

/** New keys, some of them begun before they are asked for. */
export class KeySupply {
  readonly #ahead: Promise<PrivateKey>[]

  /** @param wanted how many will be needed for certain; at most one for each core is begun at once */
  constructor(wanted: number) {
    this.#ahead = Array.from({ length: Math.min(wanted, availableParallelism()) }, () => {
      const key = generatePrivateKey()
      // A run that fails before it needs the key has its own error to tell.
      key.catch(() => undefined)
      return key
    })
  }

  /** Each key is given once. */
  take(): Promise<PrivateKey> {
    return this.#ahead.shift() ?? generatePrivateKey()
  }
}
