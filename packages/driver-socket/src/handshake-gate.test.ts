import { Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HandshakeGate } from './handshake-gate.ts'

let ports = 0

/** A socket that says where it comes from, and is connected to nothing. */
function socketFrom(remoteAddress: string): Socket {
  ports += 1
  return Object.defineProperties(new Socket(), {
    remoteAddress: { value: remoteAddress },
    remotePort: { value: ports },
  })
}

describe('the gate', () => {
  it('has so many places for one address, and no more', () => {
    const gate = new HandshakeGate({ maxPending: 8, maxPendingPerAddress: 2 })
    const [one, two, three] = ['a', 'a', 'a'].map(socketFrom) as [Socket, Socket, Socket]
    expect(gate.enter(one)).toBeUndefined()
    expect(gate.enter(two)).toBeUndefined()
    expect(gate.enter(three)?.socket).toBe(three)
    gate.leave(one)
    expect(gate.enter(three)).toBeUndefined()
  })

  it('takes a place from who holds most for who holds fewer, the oldest first', () => {
    const gate = new HandshakeGate({ maxPending: 4, maxPendingPerAddress: 4 })
    const greedy = Array.from({ length: 3 }, () => socketFrom('greedy'))
    gate.enter(socketFrom('modest'))
    for (const socket of greedy) gate.enter(socket)
    expect(gate.enter(socketFrom('new'))?.socket).toBe(greedy[0])
    expect(gate.pending(greedy[0]!)).toBeUndefined()
    // Now each of the others would hold as many as the greediest does.
    const late = socketFrom('greedy')
    expect(gate.enter(late)?.socket).toBe(late)
    const second = socketFrom('new')
    expect(gate.enter(second)?.socket).toBe(second)
  })

  it('lets in whose address holds nothing, while some address holds several, and never too many', () => {
    const addresses = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 60 })
    fc.assert(
      fc.property(addresses, (from) => {
        const gate = new HandshakeGate({ maxPending: 6, maxPendingPerAddress: 3 })
        const held = new Set<Socket>()
        for (const address of from) {
          const socket = socketFrom(address)
          held.add(socket)
          const loser = gate.enter(socket)
          if (loser !== undefined) held.delete(loser.socket)
          expect(held.size).toBeLessThanOrEqual(6)
          const ofAddress = [...held].filter(({ remoteAddress }) => remoteAddress === address)
          expect(ofAddress.length).toBeLessThanOrEqual(3)
          for (const one of held) expect(gate.pending(one)?.socket).toBe(one)
        }
        // Six places among four addresses: one holds two at least.
        if (held.size < 6) return
        expect(gate.enter(socketFrom('new'))?.socket.remoteAddress).not.toBe('new')
      }),
    )
  })
})
