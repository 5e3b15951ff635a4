import { silentLogger } from '@hanse/contract'
import { expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { LoginRenewal } from './login-renewal.ts'

function setUp() {
  const clock = fakeClock()
  const attempts: PromiseWithResolvers<void>[] = []
  const renewal = new LoginRenewal({
    clock,
    logger: silentLogger,
    logIn() {
      const attempt = Promise.withResolvers<void>()
      attempts.push(attempt)
      return attempt.promise
    },
  })
  return { clock, attempts, renewal }
}

it('logs in anew, once however many heartbeats are refused meanwhile', async () => {
  const { attempts, renewal } = setUp()
  const first = renewal.refused('unknown token')
  await renewal.refused('unknown token')
  expect(attempts).toHaveLength(1)
  attempts[0]!.resolve()
  await first
  void renewal.refused('unknown token')
  expect(attempts).toHaveLength(2)
})

it('asks a server that refuses ever more rarely, and at once again when it took a heartbeat', async () => {
  const { clock, attempts, renewal } = setUp()
  const attempt = async () => {
    const before = attempts.length
    const done = renewal.refused('disabled')
    attempts[before]?.reject(new Error('disabled'))
    await done
    return attempts.length - before
  }
  const pauses: number[] = []
  let paused = 0
  for (let elapsed = 0; elapsed < 1_200_000; elapsed += 5_000) {
    if ((await attempt()) === 1) {
      pauses.push(paused)
      paused = 0
    }
    clock.advance(5_000)
    paused += 5_000
  }
  expect(pauses).toEqual([0, 5, 10, 20, 40, 80, 160, 300, 300].map((s) => s * 1_000))
  renewal.accepted()
  expect(await attempt()).toBe(1)
})
