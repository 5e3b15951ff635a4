import type { Shareable } from '@hanse/session'
import type { Filter } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import type { DataKind } from '../model/data-kind.ts'
import { carriesDxo, readDxo } from '../model/dxo.ts'
import { taskReturnCode } from '../model/return-codes.ts'

/** Refuses messages by what they carry: the kinds named, or all but those (policies.md §5.2). */
export class DxoBlocker implements Filter {
  readonly #kinds: ReadonlySet<DataKind>
  readonly #allow: boolean

  /** @param allow the kinds are those that may pass */
  constructor(kinds: readonly DataKind[], allow: boolean) {
    this.#kinds = new Set(kinds)
    this.#allow = allow
  }

  process(message: Shareable): Shareable {
    if (taskReturnCode(message) !== 'OK' || !carriesDxo(message)) return message
    const { kind } = readDxo(message)
    if (this.#kinds.has(kind) !== this.#allow)
      throw new LearningError('ERR_FILTER', `data of kind ${kind} is not allowed to pass`)
    return message
  }
}
