import type { Cell, ReplyMessage, RequestOptions } from '@hanse/cellnet'
import { silentLogger } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { Heartbeat } from './heartbeat.ts'

function setUp() {
  const clock = fakeClock()
  const stop = new AbortController()
  const beats: {
    readonly jobs: unknown
    readonly answer: (reply?: Partial<ReplyMessage>) => void
  }[] = []
  const log: string[] = []
  const cell = {
    request(
      target: string,
      channel: string,
      topic: string,
      _body: unknown,
      options: RequestOptions,
    ) {
      expect([target, channel, topic]).toEqual(['server', 'task', 'heart_beat'])
      return new Promise<ReplyMessage>((resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(options.signal?.reason))
        beats.push({
          jobs: options.headers?.['job_ids'],
          answer: (reply = {}) =>
            resolve({ returnCode: 'ok', headers: new Map(), body: null, origin: target, ...reply }),
        })
      })
    },
  } as unknown as Cell
  let jobs: readonly string[] = []
  const heartbeat = new Heartbeat(
    {
      cell,
      clock,
      logger: silentLogger,
      jobs: () => jobs,
      onAbort: (unknown) => log.push(`abort ${unknown.join(' ')}`),
      onAnswer: (code, reason) => log.push(`${code} ${reason}`.trim()),
    },
    { project: 'league', ownProperties: new Map(), signal: stop.signal },
  )
  const running = heartbeat.run()
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  return {
    clock,
    stop,
    beats,
    log,
    heartbeat,
    running,
    settle,
    own: (owned: readonly string[]) => {
      jobs = owned
    },
    async answer(reply?: Partial<ReplyMessage>) {
      beats.at(-1)!.answer(reply)
      await settle()
    },
  }
}

describe('the heartbeat', () => {
  it('comes at once and then every ten seconds, with the jobs of that moment', async () => {
    const { clock, beats, answer, settle, own, stop, running } = setUp()
    expect(beats).toHaveLength(1)
    await answer()
    own(['j1'])
    clock.advance(9_999)
    await settle()
    expect(beats).toHaveLength(1)
    clock.advance(1)
    await settle()
    expect(beats.map(({ jobs }) => jobs)).toEqual([[], ['j1']])
    stop.abort()
    await running
  })

  it('comes at a word, during the pause', async () => {
    const { beats, answer, settle, heartbeat, stop, running, clock } = setUp()
    await answer()
    heartbeat.now()
    await settle()
    expect(beats).toHaveLength(2)
    stop.abort()
    await running
    expect(clock.pending).toBe(0)
  })

  it('comes once more at a word while one is on its way: that one may have been lost', async () => {
    const { beats, answer, settle, heartbeat, stop, running } = setUp()
    heartbeat.now()
    heartbeat.now()
    await settle()
    expect(beats).toHaveLength(1)
    await answer({ returnCode: 'comm_error', error: 'the link was lost' })
    expect(beats).toHaveLength(2)
    await answer()
    expect(beats).toHaveLength(2)
    stop.abort()
    await running
  })

  it('brings the jobs that the server does not know, whatever it thinks of the beat', async () => {
    const { log, answer, stop, running } = setUp()
    await answer({
      returnCode: 'comm_error',
      error: 'already registered',
      headers: new Map([['abort_jobs', ['j1', 7, 'j2']]]),
    })
    expect(log).toEqual(['abort j1 j2', 'comm_error already registered'])
    stop.abort()
    await running
  })

  it('brings none from a server that does not know us', async () => {
    const { log, answer, stop, running } = setUp()
    await answer({
      returnCode: 'unauthenticated',
      error: 'who?',
      headers: new Map([['abort_jobs', ['j1']]]),
    })
    expect(log).toEqual(['unauthenticated who?'])
    stop.abort()
    await running
  })

  it('ends at the signal, also when no answer comes', async () => {
    const { stop, running, log } = setUp()
    stop.abort()
    await running
    expect(log).toEqual([])
  })
})
