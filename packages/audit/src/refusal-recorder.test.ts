import { silentLogger } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import type { AuditEvent } from './audit-entry.ts'
import type { AuditLog } from './audit-log.ts'
import { createRefusalRecorder } from './refusal-recorder.ts'

function setUp(maxKinds = 256) {
  const written: AuditEvent[] = []
  const timers: (() => void)[] = []
  const log = {
    append(event: AuditEvent) {
      written.push(event)
      return Promise.resolve({})
    },
  } as unknown as AuditLog
  const clock = {
    now: () => 0,
    setTimer(_delayMs: number, callback: () => void) {
      timers.push(callback)
      return { [Symbol.dispose]() {} }
    },
  }
  const record = createRefusalRecorder({ log, clock, logger: silentLogger }, { maxKinds })
  const pass = () => {
    for (const timer of timers.splice(0)) timer()
  }
  return { record, written, pass }
}

const refusal = (name: string): AuditEvent => ({
  actor: { name },
  act: 'message',
  outcome: 'refused',
  code: 'unauthenticated',
})

describe('refusal recorder', () => {
  it('writes the first of a kind at once and its repeats as one entry', () => {
    const { record, written, pass } = setUp()
    for (let i = 0; i < 1000; i++) record(refusal('a'))
    expect(written).toHaveLength(1)
    pass()
    expect(written).toHaveLength(2)
    expect(written[1]?.facts).toEqual({ repeats: 999, seconds: 60 })
    pass()
    expect(written).toHaveLength(2)
  })

  it('stays small when a peer invents ever new kinds', () => {
    const { record, written, pass } = setUp(10)
    for (let i = 0; i < 10_000; i++) record(refusal(`name-${i}`))
    expect(written).toHaveLength(11)
    pass()
    expect(written.at(-1)).toMatchObject({ code: 'too-many-kinds', facts: { repeats: 9989 } })
  })
})
