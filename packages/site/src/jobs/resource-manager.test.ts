import { describe, expect, it } from 'vitest'
import { ResourceManager } from './resource-manager.ts'

function setUp(gpus = 2) {
  let now = 0
  const clock = { now: () => now, setTimer: () => ({ [Symbol.dispose]() {} }) }
  const manager = new ResourceManager(clock, { gpus, gpuMemoryGib: 16, expirationMs: 1000 })
  return { manager, pass: (ms: number) => (now += ms) }
}
const asking = (entries: Record<string, unknown>) => new Map(Object.entries(entries))
const tokenOf = (reservation: object) => ('token' in reservation ? String(reservation.token) : '')

describe('resource manager', () => {
  it('lends what it has and no more', () => {
    const { manager } = setUp()
    expect(manager.reserve(asking({ num_of_gpus: 2 }))).toHaveProperty('token')
    expect(manager.reserve(asking({ num_of_gpus: 1 }))).toEqual({
      refusal: '1 GPU(s) were asked for, 0 of 2 are free',
    })
    expect(manager.reserve(new Map())).toHaveProperty('token')
  })

  it('starts a job only with its own, living reservation, once', () => {
    const { manager, pass } = setUp()
    const token = tokenOf(manager.reserve(asking({ num_of_gpus: 1 })))
    expect(manager.allocate('made-up', 'job')).toBe(false)
    expect(manager.allocate(token, 'job')).toBe(true)
    expect(manager.allocate(token, 'other')).toBe(false)
    const late = tokenOf(manager.reserve(new Map()))
    pass(1001)
    expect(manager.allocate(late, 'late')).toBe(false)
  })

  it('gets back what is freed, cancelled or never used', () => {
    const { manager, pass } = setUp(1)
    const first = tokenOf(manager.reserve(asking({ num_of_gpus: 1 })))
    manager.cancel(first)
    const second = tokenOf(manager.reserve(asking({ num_of_gpus: 1 })))
    manager.allocate(second, 'job')
    pass(5000)
    expect(manager.report()).toEqual({ gpus: 1, gpusInUse: 1 })
    manager.free('job')
    expect(manager.report().gpusInUse).toBe(0)
  })

  it.each([[-1], [1.5], ['2'], [true]])('refuses %j GPUs', (num_of_gpus) => {
    expect(setUp().manager.reserve(asking({ num_of_gpus }))).toHaveProperty('refusal')
  })

  it('refuses GPUs that are smaller than asked for', () => {
    expect(
      setUp().manager.reserve(asking({ num_of_gpus: 1, mem_per_gpu_in_GiB: 80 })),
    ).toHaveProperty('refusal')
  })
})
