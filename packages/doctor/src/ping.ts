import type { Clock, Connection } from '@hanse/contract'
import { within } from './within.ts'

const PREFIX_BYTES = 16
const PING = 6
const LOOK_EVERY_MS = 20
/** A stock listener may greet before it has registered us, and drops what comes in between (`spec/transport.md` §3.2). */
const AGAIN_AFTER_MS = 1_000

/** The sign of life that any cell answers, login or not, whatever is in it (`spec/transport.md` §3.3). */
export function pingFrame(bytes: number): Uint8Array {
  const frame = new Uint8Array(bytes)
  const view = new DataView(frame.buffer)
  view.setUint32(0, bytes)
  view.setUint8(6, PING)
  // MessagePack's nil, as many as there is room for.
  frame.fill(0xc0, PREFIX_BYTES)
  return frame
}

/** Whether anything comes back over the connection within the time; a connection that ends answers nothing. */
export async function answers(
  connection: Connection,
  frame: Uint8Array,
  clock: Clock,
  timeoutMs: number,
): Promise<boolean> {
  const before = connection.bytesReceived
  let timer: Disposable | undefined
  const isAnswered = await within<boolean>(clock, timeoutMs, (report) => {
    const ask = (): void => {
      const again = clock.now() + AGAIN_AFTER_MS
      const look = (): void => {
        if (connection.bytesReceived > before) report(true)
        else timer = clock.setTimer(LOOK_EVERY_MS, clock.now() < again ? look : ask)
      }
      connection.send([frame]).then(look, () => report(false))
    }
    ask()
  })
  timer?.[Symbol.dispose]()
  return isAnswered === true
}
