import { describe, expect, it } from 'vitest'
import { ParticipantWatch } from './participant-watch.ts'

function setUp(graceMs = 15_000) {
  const timers = new Set<() => void>()
  const log: string[] = []
  const clock = {
    now: () => 0,
    setTimer(_delayMs: number, callback: () => void) {
      timers.add(callback)
      return { [Symbol.dispose]: () => void timers.delete(callback) }
    },
  }
  const watch = new ParticipantWatch(clock, graceMs, {
    onDisconnected: (site, reason) => log.push(`- ${site}: ${reason}`),
    onReconnected: (site) => log.push(`+ ${site}`),
  })
  const passGrace = () => {
    for (const callback of [...timers]) callback()
  }
  return { watch, log, timers, passGrace }
}

describe('participant watch', () => {
  it('counts a site as disconnected only after the grace', () => {
    const { watch, log, passGrace } = setUp()
    watch.doubt('a', 'link lost')
    expect(log).toEqual([])
    passGrace()
    expect(log).toEqual(['- a: link lost; not back within 15 s'])
    expect([...watch.disconnected.keys()]).toEqual(['a'])
  })

  it('forgets its doubt with the first message of the site', () => {
    const { watch, log, timers } = setUp()
    watch.doubt('a', 'link lost')
    watch.alive('a')
    expect(timers.size).toBe(0)
    expect(log).toEqual([])
  })

  it('grants no grace to what is certain, or when there is none', () => {
    const certain = setUp()
    certain.watch.gone('a', 'restarted')
    expect(certain.log).toEqual(['- a: restarted'])
    const none = setUp(0)
    none.watch.doubt('a', 'link lost')
    expect(none.log).toEqual(['- a: link lost'])
  })

  it('says when a disconnected site speaks again, and each change once', () => {
    const { watch, log } = setUp(0)
    watch.doubt('a', 'x')
    watch.doubt('a', 'y')
    watch.alive('a')
    watch.alive('a')
    expect(log).toEqual(['- a: x', '+ a'])
  })
})
