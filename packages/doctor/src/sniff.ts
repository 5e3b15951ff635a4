import { openWay } from './open-way.ts'
import { type Patient, placeOf } from './patient.ts'
import { within } from './within.ts'

/** What answers a line of plain HTTP: who or what is behind a port that does not do what we expect. */
export type Sniffed =
  | { readonly speaks: 'http'; readonly answer: string }
  | { readonly speaks: 'tls' | 'websocket' | 'nothing' | 'something' }

const UPGRADED = 'HTTP/1.1 101 '
const MAX_ANSWER_BYTES = 4096
/** Records of TLS that an endpoint sends: alert, handshake. */
const TLS_RECORDS: ReadonlySet<number | undefined> = new Set([0x15, 0x16])

/** Asks in plain HTTP, without TLS, and looks at the first bytes of the answer. */
export async function sniff(patient: Patient): Promise<Sniffed> {
  const { clock, timeoutMs } = patient
  const way = await openWay(patient)
  if (way.outcome === 'failed') return { speaks: 'nothing' }
  const { socket } = way
  const parts: Buffer[] = []
  try {
    await within<void>(clock, Math.min(timeoutMs, 2_000), (report) => {
      let length = 0
      socket.write(question(patient))
      socket.on('data', (part: Buffer) => {
        parts.push(part)
        length += part.length
        // A WebSocket stays open.
        if (length >= MAX_ANSWER_BYTES || isUpgraded(parts[0])) report()
      })
      socket.on('error', () => report())
      socket.on('close', () => report())
    })
  } finally {
    socket.destroy()
  }
  const answer = Buffer.concat(parts)
  if (answer.length === 0) return { speaks: 'nothing' }
  if (TLS_RECORDS.has(answer[0]) && answer[1] === 0x03) return { speaks: 'tls' }
  if (isUpgraded(answer)) return { speaks: 'websocket' }
  const text = answer.subarray(0, MAX_ANSWER_BYTES).toString('latin1')
  return text.startsWith('HTTP/')
    ? { speaks: 'http', answer: httpAnswer(text) }
    : { speaks: 'something' }
}

function isUpgraded(bytes: Buffer | undefined): boolean {
  return bytes?.toString('latin1', 0, UPGRADED.length) === UPGRADED
}

/** Where peers speak WebSocket we ask for one: then a page is no answer of theirs. */
function question(patient: Patient): string {
  const [path, connection] =
    patient.kit.server.scheme === 'http'
      ? [
          '/f3',
          'Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aGFuc2UgZG9jdG9yIGtleQ==',
        ]
      : ['/', 'close']
  return `GET ${path} HTTP/1.1\r\nHost: ${placeOf(patient)}\r\nConnection: ${connection}\r\n\r\n`
}

/** Status line of an HTTP answer, with the title of the page that came along. */
export function httpAnswer(text: string): string {
  const status = (text.split('\r\n', 1)[0] ?? '').slice(0, 100)
  const title = /<title[^>]*>([^<]{1,100})/i.exec(text)?.[1]?.trim()
  return printable(title === undefined ? status : `${status}, a page titled "${title}"`)
}

/** What came from the network is shown to people; it must not steer their terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
