import {
  coreCodecs,
  createFobsRegistry,
  type FobsCodec,
  type FobsRegistry,
  type ReferenceKind,
  shapeError,
} from '../src/index.ts'

/** Stands for arrays in tests of this package: a text that can be downloaded. */
export class FakeArray {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export const fakeKind: ReferenceKind = {
  dot: 3,
  encodeItem: (id, value) => [
    new TextEncoder().encode(`${id} ${value instanceof FakeArray ? value.text : ''}`),
  ],
  decodeItem(bytes) {
    const [id = '', ...text] = new TextDecoder().decode(bytes).split(' ')
    if (id === 'broken') throw new RangeError('not ours')
    return new Map([[id, new FakeArray(text.join(' '))]])
  },
}

export const fakeArrayCodec: FobsCodec<FakeArray> = {
  typeName: 'test.FakeArray',
  decomposer: 'test.FakeArrayDecomposer',
  class: FakeArray,
  reference: fakeKind,
  compose(data, context) {
    if (typeof data !== 'string') throw shapeError('test.FakeArray', 'a text')
    return data.startsWith('ref:')
      ? context.reference(3, data.slice(4))
      : new FakeArray(data.slice(4))
  },
  decompose(array, context) {
    const id = context.reference(3, array)
    return id === undefined ? `txt:${array.text}` : `ref:${id}`
  },
}

export const fakeRegistry: FobsRegistry = createFobsRegistry(coreCodecs, [fakeArrayCodec])
