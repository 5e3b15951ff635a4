import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type ReplyItem,
  readCommandReply,
  readCommandRequest,
  writeCommandReply,
  writeCommandRequest,
} from './command-text.ts'

const now = new Date('2026-11-22T20:37:58.256Z')
const malformed = expect.objectContaining({ code: 'ERR_MESSAGE_SHAPE' })

describe('the text of a command', () => {
  it('has the form of stock', () => {
    const text = writeCommandRequest({ command: 'list_jobs -m 5', token: 'T', meta: {} }, now)
    expect(JSON.parse(text)).toEqual({
      time: '2026-11-22 20:37:58.256000',
      data: [
        { type: 'command', data: 'list_jobs -m 5' },
        { type: 'token', data: 'T' },
      ],
      meta: {},
    })
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.string(), fc.option(fc.string(), { nil: undefined }), (command, token) => {
        const request = { command, token, meta: { cmd_timeout: 10 } }
        expect(readCommandRequest(writeCommandRequest(request, now))).toEqual(request)
      }),
    )
  })

  it('takes the first command and the first token', () => {
    const data = [
      { type: 'token', data: 'one' },
      { type: 'command', data: 'a' },
      { type: 'command', data: 'b' },
      { type: 'token', data: 'two' },
    ]
    expect(readCommandRequest(JSON.stringify({ data }))).toEqual({
      command: 'a',
      token: 'one',
      meta: {},
    })
  })

  it.each([
    ['no text', 5],
    ['no JSON', '{'],
    ['a list', '[]'],
    ['no command', '{"data":[{"type":"token","data":"x"}]}'],
    ['data that is no list', '{"data":{}}'],
    ['meta that is no object', '{"data":[{"type":"command","data":"x"}],"meta":[]}'],
    ['a command that is no text', '{"data":[{"type":"command","data":5}]}'],
  ])('is refused with %s', (_, text) => {
    expect(() => readCommandRequest(text)).toThrow(malformed)
  })

  it('throws nothing else, whatever comes', () => {
    const anything = fc.oneof(fc.json(), fc.string(), fc.anything())
    fc.assert(
      fc.property(anything, (text) => {
        for (const read of [readCommandRequest, readCommandReply])
          try {
            read(text)
          } catch (error) {
            expect(error).toEqual(malformed)
          }
      }),
    )
  })
})

describe('the text of a reply', () => {
  it('is read as it was written', () => {
    const items: ReplyItem[] = [
      { type: 'string', data: 'OK' },
      {
        type: 'table',
        rows: [
          ['A', 'B'],
          ['1', null],
        ],
      },
      { type: 'dict', data: { x: [1, { y: null }] } },
      { type: 'success', data: '' },
    ]
    const reply = { items, meta: { status: 'ok', info: '' } }
    expect(readCommandReply(writeCommandReply(reply, now))).toEqual(reply)
  })

  it('shows numbers in tables as text', () => {
    const text = '{"data":[{"type":"table","rows":[["N"],[5]]}]}'
    expect(readCommandReply(text).items).toEqual([{ type: 'table', rows: [['N'], ['5']] }])
  })

  it.each([
    '{"data":[{"type":"dict","data":"x"}]}',
    '{"data":[{"type":"string","data":{}}]}',
    '{"data":[{"type":"other","data":""}]}',
    '{"data":[{"type":"table","rows":[5]}]}',
    '{"data":[5]}',
  ])('is refused as %s', (text) => {
    expect(() => readCommandReply(text)).toThrow(malformed)
  })
})
