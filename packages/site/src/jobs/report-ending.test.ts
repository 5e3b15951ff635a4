import type { Cell, ReplyMessage } from '@hanse/cellnet'
import { silentLogger } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { reportEnding } from './site-job.ts'

function setUp(...codes: string[]) {
  const clock = fakeClock()
  const sent: unknown[] = []
  const cell = {
    async request(_target: string, _channel: string, topic: string, body: unknown) {
      sent.push([topic, ...(body as Map<string, unknown>).values()])
      return { returnCode: codes.shift() ?? 'timeout' } as ReplyMessage
    },
  } as unknown as Cell
  let wanted = true
  const stop = new AbortController()
  const report = reportEnding(
    { cell, clock, logger: silentLogger },
    'j1',
    'league',
    { code: 101, reason: 'why' },
    () => wanted,
    { signal: stop.signal },
  )
  report.catch(() => undefined)
  const pass = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(2_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    sent,
    report,
    pass,
    stop,
    forget: () => {
      wanted = false
    },
  }
}

describe('a final report', () => {
  it('is repeated until the server answers', async () => {
    const { sent, report, pass } = setUp('comm_error', 'timeout', 'ok')
    await pass()
    await pass()
    await report
    expect(sent).toEqual(Array.from({ length: 3 }, () => ['report_job_failure', 'j1', 101, 'why']))
  })

  it('is not repeated when the server cannot read it, or does not know the job', async () => {
    const { sent, report } = setUp('invalid_request')
    await report
    expect(sent).toHaveLength(1)
    const other = setUp('comm_error')
    other.forget()
    await other.pass()
    await other.report
    expect(other.sent).toHaveLength(1)
  })

  it('is given up after a while, and at the signal', async () => {
    const { sent, report, pass } = setUp()
    for (let i = 0; i < 40; i++) await pass()
    await report
    expect(sent).toHaveLength(30)
    const other = setUp()
    await new Promise((resolve) => setImmediate(resolve))
    other.stop.abort(new Error('stopped'))
    await expect(other.report).rejects.toThrow('stopped')
  })
})
