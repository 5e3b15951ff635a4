import { silentLogger } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { ManualClock, settle } from '../../test/streams/manual-clock.ts'
import { type Letter, MemoryNetwork } from '../../test/streams/memory-network.ts'
import { scenario, type VectorMessage } from '../../test/streams/sfm-vector.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import type { HeaderValue } from '../headers.ts'
import { createStreams } from './streams.ts'

/** What the captured installation was configured with. */
const STOCK = { windowBytes: 67_108_864, ackIntervalBytes: 16_777_216 }

/** Both ends' names, a cell of ours under one of them and a bare port under the other. */
function stage(own: string, peer: string, options = {}) {
  const network = new MemoryNetwork()
  const clock = new ManualClock()
  const components = { port: network.port(own), clock, logger: silentLogger, random: testRandom }
  const streams = createStreams(components, { ...STOCK, ...options })
  const other = network.port(peer)
  return { network, clock, streams, other, own, peer }
}

/** Ids are chosen anew on every run; what the cell layer adds is none of the stream's business. */
const CHOSEN = new Set(['sm__id', 'sm__ri', 'sm__em'])

function comparable(headers: ReadonlyMap<string, HeaderValue>) {
  const kept = [...headers].filter(
    ([key]) => !CHOSEN.has(key) && (!key.startsWith('cn__') || key === 'cn__return_code'),
  )
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function expectSame(letters: readonly Letter[], expected: readonly VectorMessage[]) {
  expect(letters.map((letter) => letter.topic)).toEqual(expected.map((message) => message.topic))
  for (const [index, letter] of letters.entries()) {
    const vector = expected[index]!
    expect(comparable(letter.headers), vector.name).toEqual(comparable(vector.headers))
    expect(Buffer.compare(letter.payload, vector.payload), vector.name).toBe(0)
  }
}

/** A captured message as if it were sent now, with ids of this run. */
function replay(message: VectorMessage, ids: Record<string, HeaderValue> = {}): Letter {
  const headers = new Map(message.headers)
  for (const [key, value] of Object.entries(ids)) if (headers.has(key)) headers.set(key, value)
  return {
    from: message.origin,
    to: message.destination,
    channel: String(message.headers.get('cn__channel')),
    topic: message.topic,
    headers,
    payload: message.payload,
    parts: [message.payload],
  }
}

function payloadOf(messages: readonly VectorMessage[]): Uint8Array {
  return new Uint8Array(Buffer.concat(messages.map((message) => message.payload)))
}

const BLOBS = [
  { name: 'stream_blob_3mb', reliable: false },
  { name: 'stream_blob_exact_2mib', reliable: false },
  { name: 'stream_blob_empty', reliable: false },
  { name: 'stream_blob_reliable', reliable: true },
]

describe('captured byte streams', () => {
  it.each(BLOBS)('sends $name as the reference does', async ({ name, reliable }) => {
    const messages = scenario(name)
    const data = messages.filter((message) => message.topic === 'sm__DATA')
    const acks = messages.filter((message) => message.topic === 'sm__ACK')
    const { network, streams } = stage('site-1', 'server')
    const sending = streams.send('server', 'stream', 'blob', [payloadOf(data)], {
      headers: new Map([['app_header', 'x']]),
      reliable,
      confirmed: true,
    })
    await settle()
    const sent = network.sent('sm__DATA', 'site-1')
    expectSame(sent, data)
    for (const ack of acks)
      network.deliver(replay(ack, { sm__id: sent[0]!.headers.get('sm__id')! }))
    expect(await sending).toEqual({ returnCode: 'ok' })
  })

  it.each(BLOBS)('receives $name and acknowledges as the reference does', async ({ name }) => {
    const messages = scenario(name)
    const data = messages.filter((message) => message.topic === 'sm__DATA')
    const acks = messages.filter((message) => message.topic === 'sm__ACK')
    const { network, streams, own } = stage('server', 'site-1')
    const bodies: Uint8Array[] = []
    streams.handle('stream', 'blob', (request) => {
      expect(request.headers.get('app_header')).toBe('x')
      bodies.push(new Uint8Array(Buffer.concat(request.body.parts)))
      return undefined
    })
    for (const message of data) network.deliver(replay(message))
    await settle()
    expect(bodies).toHaveLength(1)
    expect(Buffer.compare(bodies[0]!, payloadOf(data))).toBe(0)
    // The reference sends the same final ACK twice when two of its threads race; once is enough.
    expectSame(network.sent('sm__ACK', own), acks.slice(0, 1))
  })

  it('reports a stream that nobody takes on both topics, and fails on such a report', async () => {
    const [data, onError, onAck] = scenario('stream_blob_no_callback')
    const receiving = stage('server', 'site-1')
    receiving.network.deliver(replay(data!))
    await settle()
    expectSame(receiving.network.log, [onError!, onAck!])
    expect(receiving.network.log[0]!.headers.get('sm__em')).toContain(
      'No callback is registered for stream/nobody',
    )

    const { network, streams } = stage('site-1', 'server')
    const sending = streams.send('server', 'stream', 'nobody', [data!.payload], { confirmed: true })
    await settle()
    const id = network.log[0]!.headers.get('sm__id')!
    network.deliver(replay(onAck!, { sm__id: id }))
    const outcome = await sending
    expect(outcome).toMatchObject({
      returnCode: 'comm_error',
      error: { code: 'ERR_STREAM_REMOTE' },
    })
    // The receiver knows already: nothing is sent back to it.
    expect(network.log).toHaveLength(1)
  })
})

describe('captured requests', () => {
  const requests = [{ name: 'stream_request_reply' }, { name: 'stream_broadcast' }]

  it.each(requests)('asks as in $name', async ({ name }) => {
    const messages = scenario(name)
    const origin = messages[0]!.origin
    const target = messages[0]!.destination
    const ofPair = messages.filter(
      (message) => message.origin === target || message.destination === target,
    )
    const request = ofPair.find((message) => message.origin === origin)!
    const reply = ofPair.find(
      (message) => message.origin === target && message.topic === 'sm__DATA',
    )!
    const finalAck = ofPair.filter(
      (message) => message.origin === origin && message.topic === 'sm__ACK',
    )
    const { network, streams } = stage(origin, target, {
      ackIntervalBytes: request.headers.get('sm__ai'),
    })
    const asking = streams.request(
      target,
      'aux_communication',
      'hello',
      {
        encoding: 'fobs',
        parts: [request.payload],
      },
      { optional: false },
    )
    await settle()
    const sent = network.sent('sm__DATA', origin)
    expectSame(sent, [request])
    network.deliver(replay(reply, { sm__ri: sent[0]!.headers.get('sm__ri')! }))
    const answer = await asking
    expect(answer).toMatchObject({ returnCode: 'ok', origin: target, body: { encoding: 'fobs' } })
    expect(Buffer.compare(Buffer.concat(answer.body.parts), reply.payload)).toBe(0)
    expectSame(network.sent('sm__ACK', origin), finalAck)
  })

  it.each(requests)('answers as in $name', async ({ name }) => {
    const messages = scenario(name)
    const origin = messages[0]!.origin
    const target = messages[0]!.destination
    const request = messages[0]!
    const reply = messages.find(
      (message) => message.origin === target && message.topic === 'sm__DATA',
    )!
    const acks = messages.filter(
      (message) => message.origin === target && message.topic === 'sm__ACK',
    )
    const { network, streams, clock } = stage(target, origin, {
      ackIntervalBytes: reply.headers.get('sm__ai'),
    })
    streams.handle('aux_communication', 'hello', (incoming) => {
      expect(incoming.headers.get('cn__channel')).toBe('aux_communication')
      expect(incoming.headers.get('cn__topic')).toBe('hello')
      return { body: { encoding: incoming.body.encoding, parts: [reply.payload] } }
    })
    network.deliver(replay(request))
    await settle()
    expectSame(network.sent('sm__ACK', target), acks)
    const [sent] = network.sent('sm__DATA', target)
    expectSame([sent!], [reply])
    expect(sent!.headers.get('sm__ri')).toBe(request.headers.get('sm__ri'))
    expect(sent!.headers.get('cn__req_id')).toBe('')

    const ack = messages.find(
      (message) => message.origin === origin && message.topic === 'sm__ACK',
    )!
    network.deliver(replay(ack, { sm__id: sent!.headers.get('sm__id')! }))
    await clock.advance(60_000)
    expect(network.sent('sm__DATA', target)).toHaveLength(1) // acknowledged: never resent
  })

  it('fails a request for an unknown topic at once', async () => {
    const [request, onError] = scenario('stream_request_unknown_topic')
    const { network, streams } = stage('site-1', 'server')
    const asking = streams.request('server', 'aux_communication', 'nope', {
      encoding: 'fobs',
      parts: [request!.payload],
    })
    await settle()
    const [sent] = network.log
    expectSame([sent!], [request!])
    network.deliver(
      replay(onError!, {
        sm__id: sent!.headers.get('sm__id')!,
        sm__ri: sent!.headers.get('sm__ri')!,
      }),
    )
    expect(await asking).toMatchObject({
      returnCode: 'comm_error',
      error: onError!.headers.get('sm__em'),
    })
  })
})
