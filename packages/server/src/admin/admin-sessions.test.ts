import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { type AdminSession, AdminSessions, type Caller } from './admin-sessions.ts'

const person = { name: 'lead@example.org', organization: 'org_a', role: 'lead' }
const caller: Caller = { name: person.name, cell: '_admin_1', fingerprint: 'f1' }
// A signature is not the subject here: equal texts have equal codes.
const signer = {
  sign: (text: string) => Buffer.from(text).toString('base64url'),
  verify: (text: string, signature: string) =>
    Buffer.from(text).toString('base64url') === signature,
}

function sessionsWith(options: ConstructorParameters<typeof AdminSessions>[1] = {}) {
  const clock = fakeClock()
  const expired: AdminSession[] = []
  const sessions = new AdminSessions(
    { clock, signer, onExpired: (session) => expired.push(session) },
    { idleTimeoutMs: 1000, ...options },
  )
  return { clock, expired, sessions }
}

describe('a session', () => {
  it('is found by its token, from the cell that opened it', () => {
    const { sessions } = sessionsWith()
    const { session, token } = sessions.open(person, 'default', caller)
    expect(sessions.use(token, caller)).toEqual({ ok: true, session })
  })

  it.each<[string, Partial<Caller>]>([
    ['cell', { cell: '_admin_2' }],
    ['certificate', { fingerprint: 'f2' }],
    ['name', { name: 'other@example.org' }],
  ])('is of no use to another %s', (_, other) => {
    const { sessions } = sessionsWith()
    const { token } = sessions.open(person, 'default', caller)
    expect(sessions.use(token, { ...caller, ...other })).toMatchObject({
      ok: false,
      code: 'session-foreign',
    })
    expect(sessions.use(token, caller).ok).toBe(true)
  })

  it('is not there without a token, or with one of our making no more', () => {
    const { sessions } = sessionsWith()
    expect(sessions.use(undefined, caller)).toMatchObject({ code: 'token-missing' })
    expect(sessions.use('e30=:e30', caller)).toMatchObject({ code: 'token-invalid' })
  })

  it('does not come back after logout, nor after a restart', () => {
    const { sessions } = sessionsWith()
    const { session, token } = sessions.open(person, 'default', caller)
    sessions.close(session)
    expect(sessions.use(token, caller)).toMatchObject({ code: 'session-unknown' })
    expect(sessionsWith().sessions.use(token, caller)).toMatchObject({ code: 'session-unknown' })
  })

  it('lasts as long as it is used', () => {
    const { sessions, clock, expired } = sessionsWith()
    const { token } = sessions.open(person, 'default', caller)
    for (let i = 0; i < 5; i++) {
      clock.advance(999)
      expect(sessions.use(token, caller).ok).toBe(true)
    }
    clock.advance(1000)
    expect(sessions.use(token, caller)).toMatchObject({ code: 'session-unknown' })
    expect(expired).toHaveLength(1)
  })

  it('ends with the link of its cell', () => {
    const { sessions } = sessionsWith()
    const { token, session } = sessions.open(person, 'default', caller)
    expect(sessions.closeOf('_admin_1')).toEqual([session])
    expect(sessions.use(token, caller).ok).toBe(false)
  })
})

it('keeps the number of sessions within its limits, whatever people do', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 400 })), {
        maxLength: 60,
      }),
      (logins) => {
        const { sessions, clock, expired } = sessionsWith({
          maxSessions: 6,
          maxSessionsPerPerson: 3,
        })
        for (const [who, waitMs] of logins) {
          clock.advance(waitMs)
          const name = `user${who}`
          const { token } = sessions.open({ ...person, name }, 'default', { ...caller, name })
          expect(sessions.use(token, { ...caller, name }).ok).toBe(true)
          const open = sessions.list()
          expect(open.length).toBeLessThanOrEqual(6)
          expect(open.filter((session) => session.person.name === name).length).toBeLessThanOrEqual(
            3,
          )
          expect(open.length + expired.length).toBeLessThanOrEqual(logins.length)
        }
      },
    ),
  )
})
