// Two Hanse cells over mutual TLS, as processes: `serve <kit>` and `measure <kit> <port>`, with `headers` or `all` for
// proofs that cover that much. The same commands and answers as stock/stock_cells.py, one JSON object a line.
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { type Cell, createCell, type PeerLink } from '@hanse/cellnet'
import { tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { learningCodecs } from '@hanse/learning'
import { createFrameKeyShare, type Identity } from '@hanse/pki'
import { loadKit } from '@hanse/provision'
import { Tensor } from '@hanse/tensor'
import { latencies, type RequestTimes } from './latencies.ts'

// As the processes of a league do.
setFlagsFromString('--external-memory-accounted-in-global-limit')
setFlagsFromString('--semi-space-growth-factor=1')

const MB = 1024 * 1024
const SERVER_NAME = 'server1'
const TIMEOUT_MS = 120_000

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

function openCell(name: string, identity: Identity): Cell {
  return createCell(
    name,
    { drivers: [tcp()], registry: createFobsRegistry(coreCodecs, learningCodecs) },
    { ownName: identity.name, identities: new Map([['server', SERVER_NAME]]) },
  )
}

const NO_TRANSCRIPT = new Uint8Array(0)

/** Agrees on keys as a login does, but that nobody signs. */
function serveKeys(cell: Cell, coversPayload: boolean): void {
  cell.handle('task', 'keys', ({ body, link }) => {
    const own = createFrameKeyShare()
    const options = { side: 'listener', transcript: NO_TRANSCRIPT, coversPayload } as const
    link?.proofs.stage(own.agree(body as Uint8Array, options), {}) // what our own `measure` sends
    link?.open()
    return { body: own.share }
  })
}

async function agreeOnKeys(cell: Cell, link: PeerLink, coversPayload: boolean): Promise<void> {
  const own = createFrameKeyShare()
  const reply = await cell.request('server', 'task', 'keys', own.share, { via: link })
  const options = { side: 'dialler', transcript: NO_TRANSCRIPT, coversPayload } as const
  link.proofs.start(own.agree(reply.body as Uint8Array, options)) // what our own `serve` sends
  link.open()
}

async function serve(identity: Identity, proofs: string): Promise<void> {
  const cell = openCell('server', identity)
  const models = new Map<number, Tensor>()
  cell.handle('task', 'echo', ({ body }) => ({ body }))
  cell.handle('bench', 'count', ({ body }) => {
    const bytes = body as Uint8Array // what our own `measure` sends
    return {
      body: new Map([
        ['bytes', bytes.length],
        ['last', bytes.at(-1) ?? -1],
      ]),
    }
  })
  cell.handle('bench', 'model', ({ body }) => {
    const mb = Number((body as Map<string, number>).get('mb')) // what our own `measure` sends
    let model = models.get(mb)
    if (model === undefined) {
      models.clear()
      const data = new Float32Array((mb * MB) / 4)
      for (let i = 0; i < data.length; i++) data[i] = i
      model = new Tensor('float32', [data.length], data)
      models.set(mb, model)
    }
    return { body: new Map([['w', model]]) }
  })
  serveKeys(cell, proofs === 'all')
  const { url } = await cell.listen(
    new URL('tcp://127.0.0.1:0'),
    { mode: 'mtls', tls: identity.tls },
    { proofs: proofs !== '' },
  )
  say({ port: Number(url.port) })
  await endOfInput()
  await cell[Symbol.asyncDispose]()
}

async function measure(identity: Identity, port: number, proofs: string): Promise<void> {
  const cell = openCell('site-1', identity)
  const connector = cell.dial(
    new URL(`tcp://127.0.0.1:${port}`),
    { mode: 'mtls', tls: identity.tls, serverName: 'localhost' },
    { proofs: proofs !== '' },
  )
  const connected = Promise.withResolvers<PeerLink>()
  connector.on('connected', ({ link }) => connected.resolve(link))
  const link = await connected.promise
  if (proofs !== '') await agreeOnKeys(cell, link, proofs === 'all')
  say({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    switch (command.measure) {
      case 'requests':
        say(await measureRequests(cell, command))
        break
      case 'blob':
        say(await measureBlob(cell, command.mb))
        break
      case 'download':
        say(await measureDownload(cell, command.mb))
        break
      default:
        throw new Error(`unknown measure ${command.measure}`)
    }
  }
  await cell[Symbol.asyncDispose]()
}

async function measureRequests(
  cell: Cell,
  command: { readonly outstanding: number; readonly requests: number; readonly body: object },
): Promise<RequestTimes> {
  const body = new Map(Object.entries(command.body))
  const wanted = JSON.stringify([...body])
  return latencies(command, async () => {
    const reply = await cell.request('server', 'task', 'echo', body, { timeoutMs: 30_000 })
    return (
      reply.returnCode === 'ok' &&
      JSON.stringify([...(reply.body as Map<string, unknown>)]) === wanted
    )
  })
}

async function measureBlob(cell: Cell, mb: number): Promise<object> {
  const blob = new Uint8Array(mb * MB)
  blob[blob.length - 1] = 7
  const start = performance.now()
  const reply = await cell.request('server', 'bench', 'count', blob, { timeoutMs: TIMEOUT_MS })
  const seconds = (performance.now() - start) / 1000
  const body = reply.body instanceof Map ? reply.body : new Map()
  return { seconds, right: body.get('bytes') === blob.length && body.get('last') === 7 }
}

async function measureDownload(cell: Cell, mb: number): Promise<object> {
  const start = performance.now()
  const reply = await cell.request('server', 'bench', 'model', new Map([['mb', mb]]), {
    timeoutMs: TIMEOUT_MS,
  })
  const seconds = (performance.now() - start) / 1000
  const w = reply.body instanceof Map ? reply.body.get('w') : undefined
  const right =
    w instanceof Tensor &&
    w.data.length === (mb * MB) / 4 &&
    w.data.at(-1) === Math.fround((mb * MB) / 4 - 1)
  return { seconds, right }
}

async function endOfInput(): Promise<void> {
  for await (const _ of process.stdin);
}

const [role, kit = '', ...more] = process.argv.slice(2)
const { identity } = await loadKit(kit, { now: Date.now() })
if (role === 'serve') await serve(identity, more[0] ?? '')
else await measure(identity, Number(more[0]), more[1] ?? '')
