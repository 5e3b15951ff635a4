import type { Connection, Driver, LinkSecurity, Listener, LogFields, Logger } from '@hanse/contract'

export const CLEAR: LinkSecurity = { mode: 'clear' }

/** Remembers warnings, and lets a test wait for one. */
export function recorder(): { logger: Logger; warned: Promise<LogFields> } {
  const { promise, resolve } = Promise.withResolvers<LogFields>()
  const logger: Logger = {
    debug() {},
    info() {},
    warn: (_message, fields = {}) => resolve(fields),
    error() {},
    child: () => logger,
  }
  return { logger, warned: promise }
}

/** A listener on a port of its own that remembers who came, and closes all of it. */
export interface Ears extends AsyncDisposable {
  readonly listener: Listener
  readonly url: URL
  readonly port: number
  readonly accepted: Promise<Connection>
  count(): number
}

export async function listenWith(
  driver: Driver,
  security: LinkSecurity,
  address = `${driver.schemes[0]}://127.0.0.1:0`,
): Promise<Ears> {
  const { promise, resolve } = Promise.withResolvers<Connection>()
  const all: Connection[] = []
  const listener = await driver.listen(new URL(address), security, (connection) => {
    all.push(connection)
    resolve(connection)
  })
  return {
    listener,
    url: listener.url,
    port: Number(listener.url.port),
    accepted: promise,
    count: () => all.length,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      for (const connection of all) await connection[Symbol.asyncDispose]()
    },
  }
}

/** Two ends of one clear link, and what carries them. */
export interface Pair extends AsyncDisposable {
  readonly dialled: Connection
  readonly accepted: Connection
}

export async function pairOver(dialler: Driver, acceptor: Driver = dialler): Promise<Pair> {
  const ears = await listenWith(acceptor, CLEAR)
  const dialled = await dialler.connect(ears.url, CLEAR)
  const accepted = await ears.accepted
  return {
    dialled,
    accepted,
    async [Symbol.asyncDispose]() {
      await Promise.all([dialled[Symbol.asyncDispose](), ears[Symbol.asyncDispose]()])
    },
  }
}

/** The next frames that arrive, and how the link ended. */
export function collect(connection: Connection): {
  next(): Promise<Uint8Array>
  readonly over: Promise<void>
} {
  const frames: Uint8Array[] = []
  const waiting: ((frame: Uint8Array) => void)[] = []
  const over = connection.receive((frame) => {
    const first = waiting.shift()
    if (first === undefined) frames.push(frame)
    else first(frame)
  })
  over.catch(() => {})
  return {
    over,
    next: () => {
      const frame = frames.shift()
      return frame === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(frame)
    },
  }
}
