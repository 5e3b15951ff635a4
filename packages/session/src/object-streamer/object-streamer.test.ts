import { type Cell, createCell } from '@hanse/cellnet'
import { type Clock, type LinkSecurity, silentLogger, systemClock } from '@hanse/contract'
import { coreCodecs, createFobsRegistry, type FobsValue } from '@hanse/fobs'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { type FakeClock, fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { MemoryNetwork } from '../../../cellnet/test/memory-driver.ts'
import { requestAux, returnCodeOf } from '../aux-messages/aux-messages.ts'
import { platformCodecs } from '../messages/message-codecs.ts'
import { Shareable } from '../messages/shareable.ts'
import {
  OBJECT_STREAM_HEADER as HEADER,
  OBJECT_STREAM_KEY as KEY,
  OBJECT_STREAM_TOPIC,
} from './object-stream-names.ts'
import {
  type ObjectStreamConsumer,
  type ObjectStreamOpener,
  type ObjectStreamReceiverOptions,
  receiveObjectStreams,
} from './object-stream-receiver.ts'
import { type SendObjectStreamOptions, sendObjectStream } from './object-stream-sender.ts'

const URL_OF_SERVER = new URL('memory://server:1')
const CLEAR: LinkSecurity = { mode: 'clear' }
const ownProperties = new Map([['__identity_name__', 'test']])

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function cells(...names: string[]): Promise<{ server: Cell; others: Cell[] }> {
  const network = new MemoryNetwork()
  const make = (name: string) => {
    const cell = createCell(
      name,
      { drivers: [network.driver()], registry: createFobsRegistry(coreCodecs, platformCodecs) },
      { closeTimeoutMs: 20, stockPeerHoldMs: 0 },
    )
    open.push(cell)
    return cell
  }
  const server = make('server')
  await server.listen(URL_OF_SERVER, CLEAR)
  const others = await Promise.all(
    names.map(async (name) => {
      const cell = make(name)
      const connector = cell.dial(URL_OF_SERVER, CLEAR)
      await new Promise<void>((resolve) => connector.on('connected', () => resolve()))
      return cell
    }),
  )
  return { server, others }
}

class Collector implements ObjectStreamConsumer {
  readonly pieces: Uint8Array[] = []
  outcome = 'open'
  readonly #fault: (size: number) => void
  readonly #abandoned: () => void

  constructor(fault: (size: number) => void = () => {}, abandoned = () => {}) {
    this.#fault = fault
    this.#abandoned = abandoned
  }

  take(piece: Uint8Array): void {
    this.pieces.push(piece.slice())
    this.#fault(this.bytes.length)
  }

  finish(): FobsValue {
    this.outcome = 'finished'
    return `${this.bytes.length} bytes`
  }

  abandon(reason: string): void {
    this.outcome = `abandoned: ${reason}`
    this.#abandoned()
  }

  get bytes(): number[] {
    return this.pieces.flatMap((piece) => [...piece])
  }
}

function receive(
  cell: Cell,
  opener: ObjectStreamOpener,
  options: ObjectStreamReceiverOptions = {},
  clock: Clock = systemClock,
): void {
  open.push(
    receiveObjectStreams(
      { cell, ownProperties, clock, logger: silentLogger, open: opener },
      options,
    ),
  )
}

function send(
  cell: Cell,
  chunks: readonly Uint8Array[],
  options: SendObjectStreamOptions = {},
  fileSize = chunks.reduce((sum, { length }) => sum + length, 0),
) {
  return sendObjectStream(
    { cell, ownProperties },
    {
      target: 'server',
      channel: 'hci.upload',
      topic: 'folder',
      context: new Map([['conn_data', 'x']]),
      fileName: 'a.zip',
      fileSize,
      content: (async function* () {
        yield* chunks
      })(),
    },
    options,
  )
}

/** One message as a hostile sender writes it. */
async function sendPiece(
  cell: Cell,
  headers: Record<string, FobsValue>,
  content: Record<string, FobsValue> = {},
): Promise<string> {
  const body = new Shareable()
  const whole = {
    [HEADER.transaction]: 'tx',
    [HEADER.channel]: 'hci.upload',
    [HEADER.topic]: 'folder',
    [HEADER.sequence]: 0,
    ...(headers[HEADER.sequence] === undefined && { [HEADER.context]: new Map() }),
    ...headers,
  }
  for (const [key, value] of Object.entries(whole)) if (value !== null) body.headers.set(key, value)
  const data = content[KEY.data] ?? new Uint8Array(2)
  const size = data instanceof Uint8Array ? data.length : 0
  const all = { [KEY.data]: data, [KEY.size]: size, [KEY.isLast]: false, ...content }
  for (const [key, value] of Object.entries(all)) body.content.set(key, value)
  return returnCodeOf(
    await requestAux(cell, 'server', OBJECT_STREAM_TOPIC.request, body, ownProperties),
  )
}

describe('object streams', () => {
  it('arrive as they were sent, however they are cut', async () => {
    const { server, others } = await cells('a')
    const collectors: Collector[] = []
    receive(server, () => {
      const collector = new Collector()
      collectors.push(collector)
      return collector
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 50 }),
        async (chunks, pieceBytes) => {
          collectors.length = 0
          const result = await send(others[0]!, chunks, { pieceBytes })
          const bytes = chunks.flatMap((chunk) => [...chunk])
          expect(result).toEqual({
            returnCode: 'OK',
            endResult: `${bytes.length} bytes`,
            sentBytes: bytes.length,
          })
          expect(collectors.map((collector) => [collector.bytes, collector.outcome])).toEqual([
            [bytes, 'finished'],
          ])
        },
      ),
      { numRuns: 25 },
    )
  })

  it('bring the context of the sender', async () => {
    const { server, others } = await cells('a')
    const { promise, resolve } = Promise.withResolvers<unknown>()
    receive(server, (offer) => {
      resolve([offer.origin, offer.channel, offer.topic, Object.fromEntries(offer.context)])
      return new Collector()
    })
    await send(others[0]!, [new Uint8Array(3)])
    expect(await promise).toEqual([
      'a',
      'hci.upload',
      'folder',
      {
        conn_data: 'x',
        'FileStreamer.file_size': 3,
        'Streamer.file_name': 'a.zip',
        __topic__: 'folder',
        __channel__: 'hci.upload',
      },
    ])
  })

  it('are abandoned when the sender gives up, and it is told why', async () => {
    const { server, others } = await cells('a')
    const { promise, resolve } = Promise.withResolvers<void>()
    const collector = new Collector(() => {}, resolve)
    receive(server, () => collector)
    const tooShort = send(others[0]!, [new Uint8Array(8)], { pieceBytes: 4 }, 100)
    await expect(tooShort).rejects.toThrow(RangeError)
    await promise
    expect(collector.outcome).toBe('abandoned: the sender gave up')
  })

  it('end where the receiver does not take a piece', async () => {
    const { server, others } = await cells('a')
    const collector = new Collector((size) => {
      if (size > 4) throw new RangeError('enough')
    })
    receive(server, () => collector)
    const result = await send(others[0]!, [new Uint8Array(100)], { pieceBytes: 4 })
    expect(result).toMatchObject({ returnCode: 'EXECUTION_EXCEPTION', sentBytes: 8 })
    expect(collector.outcome).toBe('abandoned: enough')
  })

  it('tell a sender that is not wanted why, in a way that stock understands if all is said', async () => {
    const { server, others } = await cells('a')
    receive(server, () => ({ refusal: 'go away' }))
    expect(await send(others[0]!, [new Uint8Array(4)])).toMatchObject({
      returnCode: 'OK',
      endResult: 'go away',
    })
    expect(await send(others[0]!, [new Uint8Array(4)], { pieceBytes: 2 })).toMatchObject({
      returnCode: 'EXECUTION_EXCEPTION',
      endResult: 'go away',
      sentBytes: 2,
    })
  })

  it('of a channel that nobody serves are refused', async () => {
    const { server, others } = await cells('a')
    receive(server, () => undefined)
    expect(await send(others[0]!, [new Uint8Array(1)])).toMatchObject({
      returnCode: 'EXECUTION_EXCEPTION',
    })
  })
})

describe('hostile senders', () => {
  it.each<[string, Record<string, FobsValue>, Record<string, FobsValue>?]>([
    ['no transaction', { [HEADER.transaction]: null }],
    ['an endless transaction', { [HEADER.transaction]: 'x'.repeat(10_000) }],
    ['no channel', { [HEADER.channel]: null }],
    ['no topic', { [HEADER.topic]: 5 }],
    ['no context in the first', { [HEADER.context]: null }],
    ['a first piece that is not the first', { [HEADER.sequence]: 3 }],
    ['a negative number', { [HEADER.sequence]: -1 }],
    ['a number that is none', { [HEADER.sequence]: 'x' }],
    ['data that is no bytes', {}, { [KEY.data]: 'text' }],
    ['a size that is wrong', {}, { [KEY.size]: 99 }],
    ['a piece that is too long', {}, { [KEY.data]: new Uint8Array(101) }],
  ])('with %s get nowhere', async (_, headers, content) => {
    const { server, others } = await cells('a')
    const collector = new Collector()
    receive(server, () => collector, { maxPieceBytes: 100 })
    expect(await sendPiece(others[0]!, headers, content)).toBe('BAD_REQUEST_DATA')
    expect(collector.outcome).toBe('open')
    expect(collector.pieces).toEqual([])
  })

  it('cannot add to, or end, the stream of another cell', async () => {
    const { server, others } = await cells('a', 'b')
    const collector = new Collector()
    receive(server, () => collector)
    const [a, b] = others as [Cell, Cell]
    expect(await sendPiece(a, {})).toBe('OK')
    expect(await sendPiece(b, { [HEADER.sequence]: 1 })).toBe('BAD_REQUEST_DATA')
    const abort = new Shareable()
    abort.headers.set(HEADER.transaction, 'tx')
    await requestAux(b, 'server', OBJECT_STREAM_TOPIC.abort, abort, ownProperties)
    expect(collector.outcome).toBe('open')
    expect(await sendPiece(a, { [HEADER.sequence]: 1 }, { [KEY.isLast]: true })).toBe('OK')
    expect(collector.outcome).toBe('finished')
    expect(collector.bytes).toHaveLength(4)
  })

  it('cannot repeat or leave out a piece', async () => {
    const { server, others } = await cells('a')
    for (const [index, sequence] of [0, 2].entries()) {
      const collector = new Collector()
      if (index === 0) receive(server, () => current)
      current = collector
      const transaction = { [HEADER.transaction]: `tx${index}` }
      expect(await sendPiece(others[0]!, transaction)).toBe('OK')
      const again = { ...transaction, [HEADER.sequence]: sequence, [HEADER.context]: new Map() }
      expect(await sendPiece(others[0]!, again)).toBe('BAD_REQUEST_DATA')
      expect(collector.outcome).toMatch(/^abandoned/)
    }
  })
  let current = new Collector()

  it('cannot keep more streams open than they may, nor for longer', async () => {
    const { server, others } = await cells('a', 'b')
    const clock: FakeClock = fakeClock()
    const collectors: Collector[] = []
    const opener = () => {
      const collector = new Collector()
      collectors.push(collector)
      return collector
    }
    const limits = { maxStreams: 3, maxStreamsPerSender: 2, idleTimeoutMs: 1000 }
    receive(server, opener, limits, clock)
    const [a, b] = others as [Cell, Cell]
    const start = (cell: Cell, transaction: string) =>
      sendPiece(cell, { [HEADER.transaction]: transaction })
    expect(await start(a, '1')).toBe('OK')
    expect(await start(a, '2')).toBe('OK')
    expect(await start(a, '3')).toBe('EXECUTION_EXCEPTION')
    expect(await start(b, '4')).toBe('OK')
    expect(await start(b, '5')).toBe('EXECUTION_EXCEPTION')
    clock.advance(999)
    expect(collectors.map(({ outcome }) => outcome)).toEqual(['open', 'open', 'open'])
    clock.advance(1)
    expect(collectors.map(({ outcome }) => outcome)).toEqual(
      Array(3).fill('abandoned: nothing came for 1000 ms'),
    )
    expect(await start(a, '6')).toBe('OK')
  })
})
