import type { Socket } from 'node:net'

export interface HandshakeGateOptions {
  readonly maxPending: number
  readonly maxPendingPerAddress: number
}

/** A socket that has not finished its handshake. */
export interface Pending {
  readonly socket: Socket
  readonly address: string
  /** Certificate subject, once TLS is done and something else is not. */
  peerName: string | undefined
}

/**
 * Counts the sockets that have not finished their handshake, in all and for each address. When all places are taken,
 * the address that holds most of them makes room for one that would hold fewer: who opens thousands of connections
 * keeps nobody out who opens one.
 */
export class HandshakeGate {
  readonly #options: HandshakeGateOptions
  /** By remote address and port: the secure socket that comes out of a handshake is another object. Oldest first. */
  readonly #pending = new Map<string, Pending>()
  readonly #perAddress = new Map<string, number>()

  constructor(options: HandshakeGateOptions) {
    this.#options = options
  }

  /**
   * Lets `socket` in until {@link leave} or its end, or says that there are too many.
   * @returns who has lost its place: `socket`, or another that the caller has to destroy; `undefined` for nobody
   */
  enter(socket: Socket): Pending | undefined {
    const address = socket.remoteAddress ?? 'unknown'
    const entering: Pending = { socket, address, peerName: undefined }
    const fromAddress = this.#perAddress.get(address) ?? 0
    // Already gone.
    if (socket.remoteAddress === undefined) return entering
    if (fromAddress >= this.#options.maxPendingPerAddress) return entering
    let displaced: Pending | undefined
    if (this.#pending.size >= this.#options.maxPending) {
      displaced = this.#oldestOfGreediest(fromAddress + 1)
      if (displaced === undefined) return entering
      this.#remove(keyOf(displaced.socket))
    }
    const key = keyOf(socket)
    this.#pending.set(key, entering)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    socket.once('close', () => {
      if (this.#pending.get(key)?.socket === socket) this.#remove(key)
    })
    return displaced
  }

  /** What is known of a socket, raw or out of its TLS handshake, that still has a place. */
  pending(socket: Socket): Pending | undefined {
    return this.#pending.get(keyOf(socket))
  }

  /** Ends the count for the raw socket under `socket`, which has finished its handshake. */
  leave(socket: Socket): void {
    this.#remove(keyOf(socket))
  }

  /** Cuts every socket that is still in its handshake. */
  destroyAll(): void {
    for (const { socket } of [...this.#pending.values()]) socket.destroy()
  }

  /** The longest waiting socket of the address that holds most places, if those are more than `least`. */
  #oldestOfGreediest(least: number): Pending | undefined {
    let most = least
    let greediest: string | undefined
    for (const [address, count] of this.#perAddress) {
      if (count <= most) continue
      most = count
      greediest = address
    }
    if (greediest === undefined) return undefined
    for (const pending of this.#pending.values()) if (pending.address === greediest) return pending
    return undefined
  }

  #remove(key: string): void {
    const pending = this.#pending.get(key)
    if (pending === undefined) return
    this.#pending.delete(key)
    const rest = (this.#perAddress.get(pending.address) ?? 1) - 1
    if (rest > 0) this.#perAddress.set(pending.address, rest)
    else this.#perAddress.delete(pending.address)
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
