import { type ByteStore, type Logger, messageOf } from '@hanse/contract'
import type { Shareable } from '@hanse/session'
import { isTensor, storedElementsOf, storeTensor, Tensor, tensorByteLength } from '@hanse/tensor'

/**
 * Moves the long tensors of a received piece to `store`, and copies the short ones, so that the piece's memory is free
 * for the next. For `setAside` of a cell. When the store fails (a full disk), the piece stays in memory.
 */
export function setArraysAside(store: ByteStore, log: Logger) {
  const isLong = (tensor: Tensor): boolean =>
    storedElementsOf(tensor) === undefined && tensorByteLength(tensor) >= store.minBytes
  return async (
    items: ReadonlyMap<string, unknown>,
  ): Promise<ReadonlyMap<string, unknown> | undefined> => {
    const tensors = new Map<string, Tensor>()
    let isWorthIt = false
    for (const [name, value] of items) {
      if (!isTensor(value)) return undefined
      tensors.set(name, value)
      isWorthIt ||= isLong(value)
    }
    if (!isWorthIt) return undefined
    const moved = new Map<string, Tensor>()
    try {
      for (const [name, tensor] of tensors)
        moved.set(name, isLong(tensor) ? storeTensor(tensor, store) : inOwnMemory(tensor))
      return moved
    } catch (error) {
      for (const [name, tensor] of moved)
        if (tensor !== tensors.get(name)) storedElementsOf(tensor)?.release()
      log.warn('arrays stay in memory: they could not be written to the job’s folder', {
        error: messageOf(error),
      })
      return undefined
    }
  }
}

/** A tensor that is stored already stays where it is. */
function inOwnMemory(tensor: Tensor): Tensor {
  if (storedElementsOf(tensor) !== undefined) return tensor
  return new Tensor(tensor.dtype, tensor.shape, tensor.data.slice(), tensor.framework)
}

/** Gives up the stored arrays of a message, at the end of what it was for: whoever still reads them gets an error. */
export function releaseArrays({ content }: Pick<Shareable, 'content'>): void {
  release(content)
}

function release(value: unknown): void {
  if (isTensor(value)) storedElementsOf(value)?.release()
  else if (value instanceof Map || Array.isArray(value))
    for (const item of value.values()) release(item)
}
