import type { FobsValue } from '@hanse/fobs'
import { Tensor } from '@hanse/tensor'
import { describe, expect, it } from 'vitest'
import { NumpyScalar } from '../codecs/numpy-scalar.ts'
import { encodePickle } from './encode-pickle.ts'

const hex = (value: FobsValue): string => Buffer.concat(encodePickle(value)).toString('hex')
const text = (value: string): string =>
  `58${Buffer.from(Uint32Array.of(value.length).buffer).toString('hex')}${Buffer.from(value).toString('hex')}`

describe('encodePickle', () => {
  // Each was loaded by Python 3.11 with NumPy 2.4, and the interop suite loads such files with joblib.
  it.each<[string, FobsValue, string]>([
    ['None', null, '4e'],
    ['booleans', [true, false], '5d28888965'],
    ['0', 0, '8a00'],
    ['127', 127, '8a017f'],
    ['128', 128, '8a028000'],
    ['-1', -1, '8a01ff'],
    ['-128', -128, '8a0180'],
    ['-129', -129, '8a027fff'],
    ['2**64', 2n ** 64n, '8a09000000000000000001'],
    ['0.5', 0.5, '473fe0000000000000'],
    ['a NumPy number', new NumpyScalar('float64', 2), '474000000000000000'],
    ['a text', 'é', '5802000000c3a9'],
    ['a map', new Map([['k', 1]]), `7d28${text('k')}8a010175`],
    [
      'an array',
      new Tensor('float32', [1, 2], Float32Array.of(1, -2)),
      `63${Buffer.from('numpy\nndarray\n').toString('hex')}2828` +
        `8a01018a010274${text('<f4')}63${Buffer.from('builtins\nbytearray\n').toString('hex')}` +
        '288e08000000000000000000803f000000c074527452',
    ],
    [
      'a scalar array of one byte',
      new Tensor('bool', [], Uint8Array.of(1)),
      `63${Buffer.from('numpy\nndarray\n').toString('hex')}2828` +
        `74${text('|b1')}63${Buffer.from('builtins\nbytearray\n').toString('hex')}` +
        '288e01000000000000000174527452',
    ],
  ])('writes %s', (_, value, wanted) => {
    expect(hex(value)).toBe(`8004${wanted}2e`)
  })

  it('writes what NumPy has no type for as float32', () => {
    expect(hex(new Tensor('bfloat16', [1], Uint16Array.of(0x3f80)))).toBe(
      hex(new Tensor('float32', [1], Float32Array.of(1))),
    )
  })

  it('refuses what is neither number nor array, and nesting without end', () => {
    expect(() => encodePickle(new Map([['b', new Uint8Array(2)]]))).toThrow(/no number/)
    let deep: FobsValue = 1
    for (let i = 0; i < 100; i++) deep = [deep]
    expect(() => encodePickle(deep)).toThrow(/nested deeper/)
  })
})
