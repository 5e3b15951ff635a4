import {
  type AnyFobsCodec,
  coreCodecs,
  createFobsRegistry,
  type FobsCodec,
  type FobsRegistry,
  mapData,
  type ReferenceKind,
} from '@hanse/fobs'

/** Stands for an array: its item as it travels. */
export class StubArray {
  readonly item: Uint8Array

  constructor(item: Uint8Array) {
    this.item = item
  }
}

/** Stands for a tensor; another kind of download. */
export class StubTensor extends StubArray {}

/** Counts what is encoded, to see that a broadcast encodes once. */
export const encodedItems: string[] = []

function kindOf(dot: number, create: (item: Uint8Array) => StubArray): ReferenceKind {
  return {
    dot,
    encodeItem(id, value) {
      if (!(value instanceof StubArray)) throw new TypeError('no stub')
      encodedItems.push(id)
      return [new TextEncoder().encode(`${id}.npy`), value.item]
    },
    decodeItem(bytes) {
      // Captured items are archives or safetensors; only the id is of interest here.
      const id = /T\d+/.exec(new TextDecoder('latin1').decode(bytes))?.[0]
      if (id === undefined) throw new TypeError('no item id')
      return new Map([[id, create(bytes)]])
    },
  }
}

function codecOf(typeName: string, type: typeof StubArray, dot: number): FobsCodec<StubArray> {
  return {
    typeName,
    decomposer: 'stub',
    class: type,
    reference: kindOf(dot, (item) => new type(item)),
    compose(data, context) {
      const map = mapData(typeName, data)
      const content = map.get('data')
      if (typeof content === 'string') return context.reference(dot, content)
      if (content instanceof Uint8Array) return new type(content)
      throw new TypeError('neither native nor by reference')
    },
    decompose(value, context) {
      const id = context.reference(dot, value)
      return id === undefined
        ? new Map<string, unknown>([
            ['type', 'native'],
            ['data', value.item],
          ])
        : new Map([
            ['type', 'ref'],
            ['data', id],
          ])
    },
  }
}

const codecs: readonly AnyFobsCodec[] = [
  codecOf('numpy.ndarray', StubArray, 3),
  codecOf('torch.Tensor', StubTensor, 6),
]

/** Core types plus both stubs. */
export const stubRegistry: FobsRegistry = createFobsRegistry(coreCodecs, codecs)
