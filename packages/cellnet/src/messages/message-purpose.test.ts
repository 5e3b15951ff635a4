import { describe, expect, it } from 'vitest'
import { purposeOf } from './message-purpose.ts'

const of = (headers: Record<string, string>) => purposeOf(new Map(Object.entries(headers)))

describe('the purpose of a message', () => {
  it.each(['reply', 'return', 'x'])('of type %s is to answer', (type) => {
    expect(of({ cn__msg_type: type, cn__channel: 'a', cn__topic: 'b' })).toEqual({ kind: 'answer' })
  })

  it('that is whole is its own', () => {
    const headers = { cn__msg_type: 'req', cn__channel: 'task', cn__topic: 'quit' }
    expect(of({ ...headers, sm__ch: 'app.x' })).toMatchObject({ channel: 'task', topic: 'quit' })
  })

  it('that is a piece is that of its stream', () => {
    const piece = { cn__msg_type: 'req', cn__channel: 'sm__STREAM', cn__topic: 'sm__DATA' }
    expect(of({ ...piece, sm__ch: 'app.x', sm__tp: 'y' })).toEqual({
      kind: 'request',
      channel: 'app.x',
      topic: 'y',
    })
    expect(of({ ...piece, sm__ch: 'return_only' })).toEqual({ kind: 'answer' })
    expect(of(piece)).toMatchObject({ kind: 'request', channel: '' })
    expect(of({ ...piece, cn__topic: 'sm__ACK', sm__ch: 'app.x' })).toEqual({ kind: 'answer' })
  })
})
