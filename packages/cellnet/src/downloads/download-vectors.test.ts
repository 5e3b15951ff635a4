import { readFileSync } from 'node:fs'
import { bytesOf, silentLogger } from '@hanse/contract'
import { LazyReference } from '@hanse/fobs'
import { describe, expect, it } from 'vitest'
import { inMemory } from '../../test/streams/in-memory.ts'
import { ManualClock, settle } from '../../test/streams/manual-clock.ts'
import { type Letter, MemoryNetwork } from '../../test/streams/memory-network.ts'
import { scenario, type VectorMessage } from '../../test/streams/sfm-vector.ts'
import { StubArray, stubRegistry } from '../../test/streams/stub-arrays.ts'
import { testRandom } from '../../test/streams/test-random.ts'
import type { HeaderValue } from '../headers.ts'
import type { EncodedBody } from '../streams/encoded-body.ts'
import { createStreams, type IncomingStreamRequest } from '../streams/streams.ts'
import { createBodyCodec } from './body-codec.ts'
import { readDownloadReply } from './download-messages.ts'
import { DEFAULT_OFFER_LIMITS, DownloadOffers } from './download-offers.ts'
import { DEFAULT_PULL_LIMITS, DownloadPuller } from './download-puller.ts'
import { createDownloads } from './downloads.ts'

interface Exchange {
  readonly kind: 'request' | 'reply' | 'fire_and_forget'
  readonly return_code?: string
  readonly payload_hex?: string
}

interface Transfer {
  readonly name: string
  readonly message_hex: string
  readonly refs: readonly { dot: number; datum_text: string }[]
  readonly source: string
  readonly receiver: string
  readonly forwarder?: string
  readonly chunk_size: number
  readonly exchange: readonly Exchange[]
}

const file = new URL('../../../../vectors/fobs/fobs-download.json', import.meta.url)
const vectors: {
  transfers: readonly Transfer[]
  single_messages: readonly { description: string; exchange: readonly Exchange[] }[]
} = JSON.parse(readFileSync(file, 'utf8'))

function bodyOf(exchange: Exchange | undefined): EncodedBody {
  if (exchange?.payload_hex === undefined) return { encoding: 'none', parts: [] }
  return { encoding: 'fobs', parts: [new Uint8Array(Buffer.from(exchange.payload_hex, 'hex'))] }
}

function hexOf(body: EncodedBody | undefined): string {
  return Buffer.concat(body?.parts ?? []).toString('hex')
}

function requestFrom(origin: string, body: EncodedBody): IncomingStreamRequest {
  return {
    origin,
    channel: 'download_service__',
    topic: 'download_service__download',
    headers: new Map(),
    body,
    secure: false,
    expectsReply: true,
    link: undefined,
  }
}

/** Exchanges of one reference: those up to and including a confirmation. */
function perReference({ refs, exchange }: Transfer) {
  const all: Exchange[][] = [[]]
  for (const message of exchange) {
    all.at(-1)!.push(message)
    if (message.kind === 'fire_and_forget') all.push([])
  }
  return refs.map(({ dot, datum_text }, index) => {
    const { fqcn, ref_id: refId } = JSON.parse(datum_text)
    return { dot, fqcn: String(fqcn), refId: String(refId), exchange: all[index]! }
  })
}

function itemsOf(exchange: readonly Exchange[]): Uint8Array[] {
  return exchange
    .filter((message) => message.kind === 'reply')
    .flatMap((message) => {
      const reply = readDownloadReply(bodyOf(message))
      return reply.status === 'ok' ? reply.data.map(bytesOf) : []
    })
}

/** Nonces are chosen anew on every run. */
function withNonceOf(expected: string, actual: string): string {
  const marker = Buffer.from('confirm_nonce').toString('hex')
  const at = expected.indexOf(marker)
  const from = at + marker.length + 4 // str8 and its length
  return at < 0
    ? expected
    : expected.slice(0, from) + actual.slice(from, from + 64) + expected.slice(from + 64)
}

function offersOf() {
  const clock = new ManualClock()
  return new DownloadOffers(
    { clock, logger: silentLogger, random: testRandom },
    DEFAULT_OFFER_LIMITS,
  )
}

const { signal } = new AbortController()

describe('captured downloads of FOBS bodies', () => {
  it.each(vectors.transfers)('serves $name byte for byte', async (transfer) => {
    using offers = offersOf()
    const references = perReference(transfer)
    const offer = offers.offer(
      references.map(({ exchange }) => {
        const items = itemsOf(exchange)
        return {
          kind: 'items',
          count: items.length,
          item: (index) => [items[index]!.subarray(0, 9), items[index]!.subarray(9)],
          pieceBytes: transfer.chunk_size,
        }
      }),
      { receivers: [transfer.receiver], refIds: references.map(({ refId }) => refId) },
    )
    let nonce = ''
    for (const { exchange } of references)
      for (const [index, message] of exchange.entries()) {
        if (message.kind === 'reply') continue
        const asked = hexOf(bodyOf(message))
        const recorded = /636f6e6669726d5f6e6f6e6365d920([0-9a-f]{64})/.exec(asked)?.[1]
        const body = Buffer.from(recorded ? asked.replace(recorded, nonce) : asked, 'hex')
        const reply = await offers.serve(
          requestFrom(transfer.receiver, { encoding: 'fobs', parts: [body] }),
          { signal },
        )
        if (message.kind === 'fire_and_forget') continue
        const actual = hexOf(inMemory(reply.body))
        nonce = /636f6e6669726d5f6e6f6e6365d920([0-9a-f]{64})/.exec(actual)?.[1] ?? ''
        expect(actual).toBe(withNonceOf(hexOf(bodyOf(exchange[index + 1])), actual))
      }
    expect(await offer.ended).toMatchObject({ status: 'completed', succeeded: [transfer.receiver] })
  })

  it.each(vectors.transfers)('pulls $name with the same requests', async (transfer) => {
    for (const { exchange, fqcn, refId } of perReference(transfer)) {
      const script = [...exchange]
      const take = (kind: Exchange['kind'], target: string, body: EncodedBody) => {
        const expected = script.shift()
        expect(expected?.kind).toBe(kind)
        expect(target).toBe(fqcn)
        expect(hexOf(body)).toBe(expected?.payload_hex)
      }
      const puller = new DownloadPuller(
        {
          clock: new ManualClock(),
          logger: silentLogger,
          streams: {
            request: async (target, _channel, _topic, body) => {
              take('request', target, inMemory(body))
              return {
                returnCode: 'ok',
                headers: new Map(),
                body: bodyOf(script.shift()),
                origin: target,
                secure: false,
              }
            },
            notify: async (target, _channel, _topic, body) => {
              take('fire_and_forget', target, inMemory(body))
              return 'ok'
            },
          },
        },
        DEFAULT_PULL_LIMITS,
      )
      const items: Uint8Array[] = []
      await puller.pull(
        fqcn,
        refId,
        { kind: 'items' },
        { piece: (data) => void items.push(...data.map(bytesOf)) },
      )
      expect(script).toEqual([])
      expect(items).toEqual(itemsOf(exchange))
    }
  })

  it.each(vectors.single_messages.slice(0, 4))('answers: $description', async ({ exchange }) => {
    using offers = offersOf()
    const reply = await offers.serve(requestFrom('site-1', bodyOf(exchange[0])), { signal })
    expect(reply.returnCode).toBe(exchange[1]!.return_code)
    expect(reply.body).toBeUndefined()
  })

  it('takes a legacy receiver as done once it was served the end', async () => {
    using offers = offersOf()
    const [first, second] = vectors.single_messages.slice(4).map(({ exchange }) => exchange)
    const item = itemsOf(first!)[0]!
    const offer = offers.offer([{ kind: 'items', count: 1, item: () => [item] }], {
      receivers: ['site-1'],
      refIds: ['f0b50000-0000-4000-8000-0000000a0001'],
    })
    for (const exchange of [first!, second!]) {
      const reply = await offers.serve(requestFrom('site-1.job', bodyOf(exchange[0])), { signal })
      expect(hexOf(inMemory(reply.body))).toBe(exchange[1]!.payload_hex)
    }
    expect(await offer.ended).toMatchObject({ status: 'completed' })
  })

  const decodable = vectors.transfers.filter(({ name }) => !name.startsWith('ref_fl_'))
  it.each(decodable)('fills the arrays of $name into their places', async (transfer) => {
    const references = perReference(transfer)
    const sender = transfer.forwarder ?? transfer.source
    const pulled: string[] = []
    const codec = createBodyCodec({
      fqcn: transfer.receiver,
      registry: stubRegistry,
      random: testRandom,
      downloads: {
        offer: () => expect.fail('nothing is offered here'),
        reportSourceFailure: () => expect.fail('nothing fails here'),
        pull: async (source, refId, _options, sink) => {
          pulled.push(source)
          const items = itemsOf(references.find((it) => it.refId === refId)!.exchange)
          await sink.piece(items, () => {}, {})
          return { bytes: 0, items: items.length }
        },
        [Symbol.dispose]() {},
      },
    })
    const message = new Uint8Array(Buffer.from(transfer.message_hex, 'hex'))
    const value = await codec.decode(
      { encoding: 'fobs', parts: [message.subarray(0, 40), message.subarray(40)] },
      { origin: sender },
    )
    const leaves: unknown[] = []
    const walk = (node: unknown): void => {
      if (node instanceof Map) for (const child of node.values()) walk(child)
      else if (Array.isArray(node)) node.forEach(walk)
      else leaves.push(node)
    }
    walk(value)
    const arrays = leaves.filter((leaf) => leaf instanceof StubArray)
    expect(arrays.length).toBeGreaterThan(0)
    expect(leaves.some((leaf) => leaf instanceof LazyReference)).toBe(false)
    expect(new Set(pulled)).toEqual(new Set(references.map(({ fqcn }) => fqcn)))
  })
})

function replay(message: VectorMessage, ids: Record<string, HeaderValue>): Letter {
  const headers = new Map(message.headers)
  for (const [key, value] of Object.entries(ids)) if (headers.has(key)) headers.set(key, value)
  return {
    from: message.origin,
    to: message.destination,
    channel: 'sm__STREAM',
    topic: message.topic,
    headers,
    payload: message.payload,
    parts: [message.payload],
  }
}

function cellOf(own: string, peer: string) {
  const network = new MemoryNetwork()
  const clock = new ManualClock()
  const port = network.port(own)
  network.port(peer)
  const parts = { port, clock, logger: silentLogger, random: testRandom }
  return { network, clock, parts }
}

/** Answers each of our requests with the next recorded reply, and acknowledges what we send. */
function playPeer(network: MemoryNetwork, own: string, replies: VectorMessage[]) {
  network.intercept = (letter) => {
    if (letter.from !== own || letter.topic !== 'sm__DATA') return undefined
    const requestId = letter.headers.get('sm__ri')
    if (letter.headers.get('sm__ch') === 'return_only' || requestId === undefined) return undefined
    const reply = replies.shift()
    if (reply !== undefined) network.deliver(replay(reply, { sm__ri: requestId }))
    return undefined
  }
}

const downloadRequests = (messages: readonly VectorMessage[]) =>
  messages.filter((message) => message.headers.get('sm__ch') === 'download_service__')
const downloadReplies = (messages: readonly VectorMessage[]) =>
  messages.filter((message) =>
    String(message.headers.get('sm__tp')).startsWith('download_service__:'),
  )

describe('captured downloads on the wire', () => {
  it.each(['download_file', 'download_via_fobs_numpy'])(
    'pulls %s as the reference does',
    async (name) => {
      const messages = scenario(name)
      const requests = downloadRequests(messages)
      const replies = downloadReplies(messages)
      const { origin: own, destination: peer } = requests[0]!
      const { network, parts } = cellOf(own, peer)
      await using streams = createStreams(parts)
      using downloads = createDownloads({ ...parts, streams })
      playPeer(network, own, [...replies])
      const refId = /(R?[0-9a-f]{8}-[0-9a-f-]{27})/.exec(
        Buffer.from(requests[0]!.payload).toString('latin1'),
      )![1]!
      const got: Uint8Array[] = []
      await downloads.pull(
        peer,
        refId,
        { kind: name === 'download_file' ? 'bytes' : 'items' },
        { piece: (data) => void got.push(...data.map(bytesOf)) },
      )
      await settle()
      const sent = network
        .sent('sm__DATA', own)
        .map(({ payload }) => Buffer.from(payload).toString('hex'))
      expect(sent).toEqual(requests.map(({ payload }) => Buffer.from(payload).toString('hex')))
      const expected = replies.flatMap(({ payload }) => {
        const reply = readDownloadReply({ encoding: 'fobs', parts: [payload] })
        return reply.status === 'ok' ? reply.data.map(bytesOf) : []
      })
      expect(Buffer.compare(Buffer.concat(got), Buffer.concat(expected))).toBe(0)
    },
  )

  it.each(['download_file', 'download_via_fobs_numpy', 'download_unknown_ref'])(
    'serves %s as the reference does',
    async (name) => {
      const messages = scenario(name)
      const requests = downloadRequests(messages)
      const replies = downloadReplies(messages)
      const { origin: peer, destination: own } = requests[0]!
      const { network, parts } = cellOf(own, peer)
      await using streams = createStreams(parts)
      using downloads = createDownloads({ ...parts, streams })
      const data = replies.flatMap(({ payload }) => {
        if (payload.length === 0) return []
        const reply = readDownloadReply({ encoding: 'fobs', parts: [payload] })
        return reply.status === 'ok' ? reply.data.map(bytesOf) : []
      })
      if (name !== 'download_unknown_ref') {
        const whole = new Uint8Array(Buffer.concat(data))
        const refIds = [
          /(R?[0-9a-f]{8}-[0-9a-f-]{27})/.exec(
            Buffer.from(requests[0]!.payload).toString('latin1'),
          )![1]!,
        ]
        downloads.offer(
          name === 'download_file'
            ? [
                {
                  kind: 'bytes',
                  pieceBytes: data[0]!.length,
                  source: {
                    size: whole.length,
                    read: async (offset, length) => whole.slice(offset, offset + length),
                  },
                },
              ]
            : [{ kind: 'items', count: data.length, item: (index) => [data[index]!] }],
          { receivers: [peer], refIds },
        )
      }
      for (const request of requests) {
        network.deliver(replay(request, {}))
        await settle()
      }
      const sent = network.sent('sm__DATA', own)
      expect(sent).toHaveLength(replies.length)
      for (const [index, letter] of sent.entries()) {
        const expected = Buffer.from(replies[index]!.payload).toString('hex')
        const actual = Buffer.from(letter.payload).toString('hex')
        expect(actual).toBe(withNonceOf(expected, actual))
        expect(letter.headers.get('cn__return_code')).toBe(
          replies[index]!.headers.get('cn__return_code'),
        )
        expect(letter.headers.get('sm__pe')).toBe(replies[index]!.headers.get('sm__pe'))
      }
    },
  )

  it('decodes a captured request with arrays by pulling them, then answers it', async () => {
    const messages = scenario('download_via_fobs_numpy')
    const request = messages[0]!
    const { network, parts } = cellOf('server', 'site-1')
    playPeer(network, 'server', downloadReplies(messages))
    const values: unknown[] = []
    const late: { prepare?: (incoming: IncomingStreamRequest) => Promise<unknown> } = {}
    await using streams = createStreams({
      ...parts,
      prepare: async (incoming) =>
        incoming.channel === 'aux_communication' ? late.prepare?.(incoming) : undefined,
    })
    using downloads = createDownloads({ ...parts, streams })
    const codec = createBodyCodec({
      fqcn: 'server',
      registry: stubRegistry,
      downloads,
      random: testRandom,
    })
    late.prepare = (incoming) => codec.decode(incoming.body, { origin: incoming.origin })
    streams.handle('aux_communication', 'nparr', (_incoming, value) => {
      values.push(value)
      return { body: { encoding: 'none', parts: [] } }
    })
    network.deliver(replay(request, {}))
    await settle(10)
    expect(values).toHaveLength(1)
    const [value] = values
    expect(value).toBeInstanceOf(Map)
    const weights = (value as Map<string, Map<string, unknown>>).get('weights')!
    for (const array of weights.values()) expect(array).toBeInstanceOf(StubArray)
    const reply = network
      .sent('sm__DATA', 'server')
      .find(({ headers }) => headers.get('sm__tp') === 'aux_communication:nparr')
    expect(reply?.headers.get('sm__ri')).toBe(request.headers.get('sm__ri'))
  })
})
