import type { Diagnosis, Fault } from '@hanse/doctor'
import { describe, expect, it } from 'vitest'
import { FaultFinder } from './fault-finder.ts'

const FAULT: Fault = {
  code: 'nothing-listens',
  what: 'nothing listens',
  seen: 'refused',
  expected: 'the server',
  fix: 'start it',
}

function setUp(diagnose = async (): Promise<Diagnosis> => diagnosis([FAULT])) {
  const said: string[] = []
  let searches = 0
  const finder = new FaultFinder({
    diagnose: () => {
      searches += 1
      return diagnose()
    },
    onFault: ({ code }) => said.push(code),
    onFailed: (reason) => said.push(`failed: ${reason}`),
  })
  return { finder, said, searches: () => searches }
}

const diagnosis = (faults: readonly Fault[]): Diagnosis => ({
  ok: faults.length === 0,
  faults,
  passed: [],
  warnings: [],
})

describe('the finder of faults', () => {
  it('is patient with a server that is just being started', () => {
    const { finder, searches } = setUp()
    for (const event of ['waiting', 'connected', 'lost', 'waiting', 'connected'])
      finder.heard(event)
    expect(searches()).toBe(0)
  })

  it('says once what is wrong, and again after things had worked', async () => {
    const { finder, said } = setUp()
    for (let i = 0; i < 5; i++) finder.heard('waiting')
    await finder.search()
    expect(said).toEqual(['nothing-listens'])
    finder.heard('connected')
    for (let i = 0; i < 2; i++) finder.heard('waiting')
    await finder.search()
    expect(said).toEqual(['nothing-listens', 'nothing-listens'])
  })

  it('does not wait when the server refused', async () => {
    const { finder, said } = setUp()
    finder.heard('refused')
    await finder.search()
    expect(said).toEqual(['nothing-listens'])
  })

  it('tells that it could not look', async () => {
    const { finder, said } = setUp(() => Promise.reject(new Error('no network')))
    await finder.search()
    expect(said).toEqual(['failed: no network'])
  })
})
