import { isTensor, Tensor } from '@hanse/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ClientError } from './client-error.ts'
import { type Frame, FrameDecoder } from './frame.ts'
import {
  encodeMessage,
  parseSiteMessage,
  parseTrainerMessage,
  type SiteMessage,
  type TrainerMessage,
} from './messages.ts'
import type { TrainerModel } from './trainer-model.ts'
import type { MetaValue } from './wire-value.ts'

function frameOf(message: SiteMessage<MetaValue> | TrainerMessage<MetaValue>): Frame {
  const decoder = new FrameDecoder()
  const frames = encodeMessage(message).flatMap((part) => decoder.push(part))
  expect(frames).toHaveLength(1)
  return frames[0]!
}

/** Objects come back without a prototype; for comparing, that is no difference. */
function plain(value: unknown): unknown {
  if (value instanceof Tensor) return value
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
  return value
}

const tensor = new Tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4))
const key = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom('$array', '$number', '$$', '__proto__', 'constructor'),
)
const { value: metaValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.double().map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.string({ maxLength: 8 }),
    fc.constant(tensor),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: false }),
  ),
}))

describe('messages', () => {
  it('carry any meta, awkward keys and numbers included', () => {
    fc.assert(
      fc.property(fc.dictionary(key, metaValue, { maxKeys: 4 }), (meta) => {
        const message = { type: 'task', id: 1, name: 'train', model: { meta } } as TrainerMessage &
          SiteMessage
        const parsed = parseSiteMessage(frameOf(message))
        expect(plain(parsed)).toEqual(plain(message))
      }),
    )
  })

  it('carry any parameter from a trainer, and arrays only to one of protocol 1', () => {
    fc.assert(
      fc.property(fc.dictionary(key, metaValue, { maxKeys: 4 }), (params) => {
        const model = { params, paramsType: 'FULL' } as TrainerModel<MetaValue>
        const result = { type: 'result', id: 1, model } as const
        expect(plain(parseTrainerMessage(frameOf(result)))).toEqual(plain(result))
        const task = frameOf({ type: 'task', id: 1, name: 'train', model })
        const parse = () => parseSiteMessage(task)
        if (Object.values(params).every(isTensor)) expect(parse).not.toThrow()
        else expect(parse).toThrow(expect.objectContaining({ code: 'ERR_TRAINER_PROTOCOL' }))
      }),
    )
  })

  it('carry a model with its arrays', () => {
    const model = {
      params: { weights: tensor, 'layer 1/bias': tensor },
      paramsType: 'DIFF',
      metrics: { loss: Number.NaN, accuracy: 0.5 },
      meta: { NUM_STEPS_CURRENT_ROUND: 12 },
      startRound: 0,
      currentRound: 3,
      totalRounds: 10,
    } as const
    const parsed = parseTrainerMessage(frameOf({ type: 'result', id: 7, model }))
    expect(plain(parsed)).toEqual(plain({ type: 'result', id: 7, model }))
  })

  it('carry the greeting both ways', () => {
    const hello = { type: 'hello', protocols: [1], client: 'test' } as const
    expect(parseTrainerMessage(frameOf(hello))).toEqual(hello)
    const welcome = {
      type: 'welcome',
      protocol: 1,
      jobId: 'j',
      siteName: 's',
      taskNames: { train: 'train', evaluate: 'validate', submitModel: 'submit_model' },
      datasets: { rows: '/data/rows' },
      scratchDirectory: '/scratch',
      trainWithEvaluation: true,
      transferType: 'DIFF',
    } as const
    expect(parseSiteMessage(frameOf(welcome))).toEqual(welcome)
  })

  it.each([
    ['a metric that is text', { metrics: { note: 'text' } }],
    ['a tensor whose data are too long', { params: { w: { ...tensor, shape: [3] } } }],
    ['a type without params', { paramsType: 'FULL' }],
    ['a round below zero', { currentRound: -1 }],
    ['a function in meta', { meta: { f: () => 1 } }],
  ])('are not made of %s', (_, model) => {
    const message = { type: 'result', id: 1, model } as unknown as TrainerMessage
    expect(() => encodeMessage(message)).toThrow(
      expect.objectContaining({ code: 'ERR_TRAINER_VALUE' }),
    )
  })

  const empty = new Uint8Array()
  it.each([
    null,
    [],
    'hello',
    {},
    { type: 'task' },
    { type: 'hello', protocols: 'all', client: '' },
    { type: 'hello', protocols: new Array(17).fill(1), client: '' },
    { type: 'hello', protocols: [1], client: 'x'.repeat(201) },
    { type: 'result', id: -1, model: {} },
    { type: 'result', id: 1 },
    { type: 'result', id: 1, model: { unknown: 1 } },
    { type: 'result', id: 1, model: { params: { w: { $array: 0 } }, paramsType: 'FULL' } },
    { type: 'result', id: 1, model: { params: {} } },
    { type: 'result', id: 1, model: { paramsType: 'FULL' } },
    { type: 'result', id: 1, model: { metrics: { text: 'a site secret' } } },
    { type: 'result', id: 1, model: { meta: { $unknown: 1 } } },
    { type: 'result', id: 1, model: { meta: { x: { $int: '1'.repeat(41) } } } },
    { type: 'log', key: 'loss', value: 'text' },
    { type: 'log', key: 'loss', value: { $number: 'text' } },
    { type: 'log', key: 'x'.repeat(201), value: 1 },
    { type: 'log', key: 'loss', value: 1, step: 0.5 },
  ])('of a trainer are refused like %j', (header) => {
    expect(() => parseTrainerMessage({ header, body: empty })).toThrow(
      expect.objectContaining({ code: 'ERR_TRAINER_PROTOCOL' }),
    )
  })

  it('are refused when values nest too deep', () => {
    const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)
    for (const model of [{ meta: { deep } }, { params: { deep }, paramsType: 'FULL' }]) {
      const header = { type: 'result', id: 1, model }
      expect(() => parseTrainerMessage({ header, body: empty })).toThrow('deeper than 32')
    }
  })

  it('made of garbage throw nothing but our error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.uint8Array({ maxLength: 4 }), (header, body) => {
        for (const parse of [parseTrainerMessage, parseSiteMessage])
          try {
            parse({ header, body })
          } catch (error) {
            expect(error).toBeInstanceOf(ClientError)
          }
      }),
    )
  })
})
