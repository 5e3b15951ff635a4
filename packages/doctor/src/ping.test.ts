import { setImmediate as turn } from 'node:timers/promises'
import type { Connection } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../driver-socket/test/fake-clock.ts'
import { answers, pingFrame } from './ping.ts'

/** A peer that answers the ping of that number, and loses those before. */
function peer(answered: number): { connection: Connection; sent: () => number } {
  let sent = 0
  const connection = {
    get bytesReceived() {
      return sent >= answered ? 16 : 0
    },
    async send() {
      sent += 1
    },
  }
  return { connection: connection as unknown as Connection, sent: () => sent }
}

async function outcome(answered: number): Promise<{ isAnswered: boolean; sent: number }> {
  const clock = fakeClock()
  const { connection, sent } = peer(answered)
  let isAnswered: boolean | undefined
  void answers(connection, pingFrame(17), clock, 5_000).then((it) => {
    isAnswered = it
  })
  for (let i = 0; i < 300 && isAnswered === undefined; i++) {
    await turn()
    clock.advance(20)
  }
  return { isAnswered: isAnswered === true, sent: sent() }
}

describe('answers', () => {
  it('asks again when a ping got lost, as it may right after the greeting of a stock listener', async () => {
    expect(await outcome(1)).toEqual({ isAnswered: true, sent: 1 })
    expect(await outcome(2)).toEqual({ isAnswered: true, sent: 2 })
  })

  it('gives up in time', async () => {
    const { isAnswered, sent } = await outcome(Number.POSITIVE_INFINITY)
    expect(isAnswered).toBe(false)
    expect(sent).toBeLessThanOrEqual(5)
  })
})
