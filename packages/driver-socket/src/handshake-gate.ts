import type { Socket } from 'node:net'

export interface HandshakeGateOptions {
  readonly maxPending: number
  readonly maxPendingPerAddress: number
}

interface Pending {
  readonly socket: Socket
  readonly address: string
}

/** Counts the sockets that have not finished their handshake, in all and for each address. */
export class HandshakeGate {
  readonly #options: HandshakeGateOptions
  /** By remote address and port: the secure socket that comes out of a handshake is another object. */
  readonly #pending = new Map<string, Pending>()
  readonly #perAddress = new Map<string, number>()

  constructor(options: HandshakeGateOptions) {
    this.#options = options
  }

  /** Lets `socket` in until {@link leave} or its end, or says that there are too many. */
  enter(socket: Socket): boolean {
    const address = socket.remoteAddress
    // Already gone.
    if (address === undefined) return false
    const fromAddress = this.#perAddress.get(address) ?? 0
    if (this.#pending.size >= this.#options.maxPending) return false
    if (fromAddress >= this.#options.maxPendingPerAddress) return false
    const key = keyOf(socket)
    this.#pending.set(key, { socket, address })
    this.#perAddress.set(address, fromAddress + 1)
    socket.once('close', () => {
      if (this.#pending.get(key)?.socket === socket) this.#remove(key)
    })
    return true
  }

  /** Whether the handshake of this raw socket still goes on. */
  isPending(socket: Socket): boolean {
    for (const pending of this.#pending.values()) if (pending.socket === socket) return true
    return false
  }

  /** Ends the count for the raw socket under `socket`, which has finished its handshake. */
  leave(socket: Socket): void {
    this.#remove(keyOf(socket))
  }

  /** Cuts every socket that is still in its handshake. */
  destroyAll(): void {
    for (const { socket } of [...this.#pending.values()]) socket.destroy()
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
