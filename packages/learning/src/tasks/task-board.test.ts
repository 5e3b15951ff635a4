import { silentLogger } from '@hanse/contract'
import { Shareable, type TaskOffer } from '@hanse/session'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock, settled } from '../../test/manual-clock.ts'
import { HEADER } from '../model/fl-model.ts'
import type { Distribution, StandingTask, TaskOutcome, TaskSpec } from './task.ts'
import { TaskBoard, type TaskBoardComponents } from './task-board.ts'

type Task = Extract<TaskOffer, { kind: 'task' }>

function setUp(components: Partial<TaskBoardComponents> = {}) {
  const clock = new ManualClock()
  const panics: string[] = []
  const unknown: string[] = []
  let ids = 0
  const board = new TaskBoard({
    clock,
    log: silentLogger,
    newId: () => `id-${++ids}`,
    onPanic: (reason) => void panics.push(reason),
    onUnknownResult: (site, name) => void unknown.push(`${site}:${name}`),
    ...components,
  })
  board.startWorkflow('flow')
  const results: string[] = []
  const post = (distribution: Distribution, rest: Partial<TaskSpec> = {}): StandingTask =>
    board.post({
      name: 'train',
      data: new Shareable(),
      targets: ['a', 'b', 'c'],
      distribution,
      onResult: (site) => void results.push(site),
      ...rest,
    })
  const poll = (site: string): Promise<TaskOffer> => board.next(site, { holdMs: 0 })
  const take = async (site: string): Promise<Task> => {
    const offer = await poll(site)
    if (offer.kind !== 'task') throw new Error(`${site} got ${offer.kind}`)
    return offer
  }
  const answer = (
    site: string,
    task: Task,
    result = new Shareable(),
    name = task.name,
  ): Promise<void> => {
    result.headers.set(HEADER.cookieJar, new Map([...task.cookies]))
    return board.submit(site, task.id, name, result)
  }
  const outcome = async (task: StandingTask): Promise<TaskOutcome | 'open'> => {
    await settled()
    return Promise.race([task.done, settled().then(() => 'open' as const)])
  }
  return { clock, board, panics, unknown, results, post, poll, take, answer, outcome }
}

describe('a broadcast', () => {
  it('goes to each target once and ends when all have answered', async () => {
    const { post, take, poll, answer, outcome, results } = setUp()
    const task = post({ kind: 'broadcast' })
    for (const site of ['c', 'a', 'b']) await answer(site, await take(site))
    expect((await poll('a')).kind).toBe('nothing-yet')
    expect(await outcome(task)).toEqual({ status: 'ok', answered: ['c', 'a', 'b'] })
    expect(results).toEqual(['c', 'a', 'b'])
  })

  it('gives nothing to others', async () => {
    const { post, poll } = setUp()
    post({ kind: 'broadcast' })
    expect((await poll('stranger')).kind).toBe('nothing-yet')
  })

  it('gives an unanswered task again, under the same id', async () => {
    const { post, take } = setUp()
    post({ kind: 'broadcast' })
    expect((await take('a')).id).toBe((await take('a')).id)
  })

  it('waits for latecomers once enough have answered, and no longer', async () => {
    const { clock, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast', minResponses: 2, waitMs: 1000 })
    await answer('a', await take('a'))
    await clock.advance(10_000)
    expect(await outcome(task)).toBe('open')
    await answer('b', await take('b'))
    await clock.advance(999)
    expect(await outcome(task)).toBe('open')
    await clock.advance(1)
    expect(await outcome(task)).toEqual({ status: 'ok', answered: ['a', 'b'] })
  })

  it('ends at once when nobody need be waited for', async () => {
    const { post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast', minResponses: 1, waitMs: 0 })
    await answer('b', await take('b'))
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })

  it('ends when all answered even if more answers were wanted than there are sites', async () => {
    const { post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast', minResponses: 1000, waitMs: 60_000 })
    for (const site of ['a', 'b', 'c']) await answer(site, await take(site))
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })

  it('ends by time-out, and what came until then counts', async () => {
    const { clock, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast' }, { timeoutMs: 5000 })
    await answer('a', await take('a'))
    await clock.advance(5000)
    expect(await outcome(task)).toEqual({ status: 'timeout', answered: ['a'] })
    expect(clock.pending).toBe(0)
  })

  it('finishes an answer that is being handled before it times out', async () => {
    const gate = Promise.withResolvers<void>()
    const { clock, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast' }, { timeoutMs: 5000, onResult: () => gate.promise })
    const submitted = answer('a', await take('a'))
    await clock.advance(6000)
    expect(await outcome(task)).toBe('open')
    gate.resolve()
    await submitted
    expect(await outcome(task)).toEqual({ status: 'timeout', answered: ['a'] })
  })
})

describe('other distributions', () => {
  it('broadcast for ever gives the task at every request', async () => {
    const { post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast-forever' })
    const ids = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const given = await take('a')
      ids.add(given.id)
      await answer('a', given)
    }
    expect(ids.size).toBe(3)
    expect(await outcome(task)).toBe('open')
    task.cancel()
    expect(await outcome(task)).toMatchObject({ status: 'cancelled' })
  })

  it('send to any gives it to the first who asks', async () => {
    const { post, take, poll, answer, outcome } = setUp()
    const task = post({ kind: 'send', order: 'any' })
    const given = await take('b')
    expect((await poll('a')).kind).toBe('nothing-yet')
    await answer('b', given)
    expect(await outcome(task)).toEqual({ status: 'ok', answered: ['b'] })
  })

  it('send in sequence opens to one more target per interval and keeps later ones from other tasks', async () => {
    const { clock, board, post, poll, take } = setUp()
    post({ kind: 'send', order: 'sequential', assignmentMs: 1000 })
    post({ kind: 'broadcast' }, { name: 'other' })
    expect((await poll('b')).kind).toBe('nothing-yet')
    const waiting = board.next('b', { holdMs: 60_000 })
    await clock.advance(999)
    expect((await poll('c')).kind).toBe('nothing-yet')
    await clock.advance(1)
    expect(await waiting).toMatchObject({ kind: 'task', name: 'train' })
    expect((await take('c')).name).toBe('other')
  })

  it('relay in sequence goes from one to the next, a site twice if it is listed twice', async () => {
    const { post, take, poll, answer, outcome } = setUp()
    const seen: string[] = []
    const task = post(
      { kind: 'relay', order: 'sequential' },
      {
        targets: ['a', 'b', 'a'],
        data: (site) => new Shareable(new Map([['for', `${site}${seen.length}`]])),
        onResult: (site) => void seen.push(site),
      },
    )
    for (const site of ['a', 'b', 'a']) {
      const other = site === 'a' ? 'b' : 'a'
      expect((await poll(other)).kind).toBe('nothing-yet')
      const given = await take(site)
      expect(given.data.headers.get('for')).toBe(`${site}${seen.length}`)
      expect((await poll(other)).kind).toBe('nothing-yet')
      await answer(site, given)
    }
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
    expect(seen).toEqual(['a', 'b', 'a'])
  })

  it('relay lets the next site in when one does not come, and times out after the last', async () => {
    const { clock, board, post, poll, take, answer, outcome } = setUp()
    const task = post({ kind: 'relay', order: 'sequential', assignmentMs: 1000 })
    expect((await poll('b')).kind).toBe('nothing-yet')
    const waiting = board.next('b', { holdMs: 60_000 })
    await clock.advance(1000)
    const given = await waiting
    expect(given.kind).toBe('task')
    await answer('b', given as Task)
    // `a` was passed over.
    expect((await poll('a')).kind).toBe('nothing-yet')
    expect((await take('c')).name).toBe('train')
    expect(await outcome(task)).toBe('open')
  })

  it('relay ends with a time-out when nobody comes', async () => {
    const { clock, post, outcome } = setUp()
    const task = post({ kind: 'relay', order: 'sequential', assignmentMs: 1000 })
    await clock.advance(2999)
    expect(await outcome(task)).toBe('open')
    await clock.advance(1)
    expect(await outcome(task)).toMatchObject({ status: 'timeout' })
  })

  it('relay goes on without an answer that takes too long, and marks it as late', async () => {
    const { clock, board, post, take, answer, outcome } = setUp()
    const late: unknown[] = []
    const task = post(
      { kind: 'relay', order: 'sequential', resultMs: 1000 },
      { onResult: (_, result) => void late.push(result.headers.get(HEADER.replyIsLate)) },
    )
    const slow = await take('a')
    const waiting = board.next('b', { holdMs: 60_000 })
    await clock.advance(1000)
    const next = await waiting
    expect(next.kind).toBe('task')
    await answer('a', slow)
    await answer('b', next as Task)
    await answer('c', await take('c'))
    expect(late).toEqual([true, undefined, undefined])
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })

  it('relay in any order serves each entry once, one at a time', async () => {
    const { post, take, poll, answer, outcome } = setUp()
    const task = post({ kind: 'relay', order: 'any' }, { targets: ['a', 'b', 'b'] })
    for (const site of ['b', 'a', 'b']) {
      const given = await take(site)
      expect((await poll(site === 'a' ? 'b' : 'a')).kind).toBe('nothing-yet')
      await answer(site, given)
    }
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })

  it('relay with dynamic targets takes whoever asks', async () => {
    const { post, take, answer, outcome } = setUp()
    const task = post({ kind: 'relay', order: 'sequential', dynamicTargets: true }, { targets: [] })
    const given = await take('newcomer')
    expect(await outcome(task)).toBe('open')
    await answer('newcomer', given)
    expect(await outcome(task)).toMatchObject({ status: 'ok', answered: ['newcomer'] })
  })
})

describe('a request for a task', () => {
  it('waits and is answered as soon as a task appears', async () => {
    const { board, post } = setUp()
    const waiting = board.next('a', { holdMs: 60_000 })
    await settled()
    post({ kind: 'broadcast' })
    expect(await waiting).toMatchObject({ kind: 'task', name: 'train' })
  })

  it('ends with nothing when its time is over', async () => {
    const { clock, board } = setUp()
    const waiting = board.next('a', { holdMs: 5000 })
    await clock.advance(5000)
    expect(await waiting).toEqual({ kind: 'nothing-yet' })
    expect(clock.pending).toBe(0)
  })

  it('rejects when aborted, and the task is not lost', async () => {
    const { clock, board, post, take } = setUp()
    const abort = new AbortController()
    const waiting = board.next('a', { holdMs: 5000, signal: abort.signal })
    await settled()
    abort.abort(new Error('link lost'))
    await expect(waiting).rejects.toThrow('link lost')
    post({ kind: 'broadcast' })
    expect((await take('a')).name).toBe('train')
    expect(clock.pending).toBe(0)
  })

  it('ends an earlier one of the same site', async () => {
    const { board, post } = setUp()
    const first = board.next('a', { holdMs: 60_000 })
    await settled()
    const second = board.next('a', { holdMs: 60_000 })
    expect(await first).toEqual({ kind: 'nothing-yet' })
    post({ kind: 'broadcast' })
    expect((await second).kind).toBe('task')
  })

  it('is told when the run is over, also one that waits', async () => {
    const { board, poll } = setUp()
    const waiting = board.next('a', { holdMs: 60_000 })
    await settled()
    board.end()
    expect(await waiting).toEqual({ kind: 'end' })
    expect(await poll('b')).toEqual({ kind: 'end' })
  })

  it('carries the cookies of task and workflow', async () => {
    const { post, take } = setUp()
    const data = new Shareable(new Map([[HEADER.cookieJar, new Map([['contribution_round', 3]])]]))
    post({ kind: 'broadcast' }, { data, timeoutMs: 1500, operator: new Map([['op_id', 'train']]) })
    const given = await take('a')
    expect(Object.fromEntries(given.cookies)).toEqual({
      __workflow__: 'flow',
      contribution_round: 3,
    })
    expect(given).toMatchObject({ timeoutSeconds: 2, data })
    expect(given.operator?.get('op_id')).toBe('train')
  })
})

describe('a result', () => {
  it('of a fatal code ends the run', async () => {
    const { post, take, answer, panics } = setUp()
    post({ kind: 'broadcast' })
    await answer('a', await take('a'), new Shareable(new Map([[HEADER.returnCode, 'UNSAFE_JOB']])))
    expect(panics).toEqual(['site a answered task train with UNSAFE_JOB'])
  })

  it('is dropped when it comes twice, also while the first is being handled', async () => {
    const gate = Promise.withResolvers<void>()
    const { board, post, take, answer, unknown } = setUp()
    let handled = 0
    post(
      { kind: 'broadcast' },
      {
        onResult: () => {
          handled++
          return gate.promise
        },
      },
    )
    const given = await take('a')
    expect(board.isStanding(given.id)).toBe(true)
    const first = answer('a', given)
    await settled()
    expect(board.isStanding(given.id)).toBe(false)
    await answer('a', given)
    gate.resolve()
    await first
    await answer('a', given)
    expect(handled).toBe(1)
    expect(unknown).toEqual([])
  })

  it('is dropped when another site sends it, it names another task, or its workflow is over', async () => {
    const { board, post, take, answer, results, unknown } = setUp()
    post({ kind: 'broadcast' })
    const given = await take('a')
    await answer('b', given)
    await answer('a', given, new Shareable(), 'validate')
    await board.submit('a', given.id, 'train', new Shareable())
    board.startWorkflow('next')
    await answer('a', given)
    expect(results).toEqual([])
    expect(unknown).toEqual([])
  })

  it('of a task that has ended goes to the workflow as late', async () => {
    const { clock, post, take, answer, results, unknown } = setUp()
    post({ kind: 'broadcast' }, { timeoutMs: 1000 })
    const given = await take('a')
    await clock.advance(1000)
    await answer('a', given)
    expect(results).toEqual([])
    expect(unknown).toEqual(['a:train'])
  })

  it('whose handling fails ends the task with the cause', async () => {
    const cause = new Error('cannot add')
    const { post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast' }, { onResult: () => Promise.reject(cause) })
    await answer('a', await take('a'))
    expect(await outcome(task)).toMatchObject({ status: 'error', cause })
  })
})

describe('filters', () => {
  it('change what goes out and what comes in', async () => {
    const mark = (word: string) => async (site: string, name: string, data: Shareable) =>
      new Shareable(new Map([...data.headers, [word, `${site}/${name}`]]), data.content)
    const { post, take, answer } = setUp({ filterData: mark('out'), filterResult: mark('in') })
    const seen: unknown[] = []
    post(
      { kind: 'broadcast' },
      { onResult: (_, result) => void seen.push(result.headers.get('in')) },
    )
    const given = await take('a')
    expect(given.data.headers.get('out')).toBe('a/train')
    await answer('a', given)
    expect(seen).toEqual(['a/train'])
  })

  it('that refuse data cancel the task; those that refuse a result make it an error', async () => {
    const refuse = () => Promise.reject(new Error('no'))
    const first = setUp({ filterData: refuse })
    const task = first.post({ kind: 'broadcast' })
    expect((await first.poll('a')).kind).toBe('nothing-yet')
    expect(await first.outcome(task)).toMatchObject({ status: 'cancelled' })

    const second = setUp({ filterResult: refuse })
    const codes: unknown[] = []
    second.post(
      { kind: 'broadcast' },
      {
        onResult: (_, result) =>
          void codes.push(result.headers.get(HEADER.returnCode), result.content.size),
      },
    )
    await second.answer(
      'a',
      await second.take('a'),
      new Shareable(new Map(), new Map([['DXO', 'secret']])),
    )
    expect(codes).toEqual(['TASK_RESULT_FILTER_ERROR', 0])
  })

  it('keep a second request of the site waiting until they are done, and serve it then', async () => {
    const gate = Promise.withResolvers<void>()
    const { board, post } = setUp({
      filterData: (_site, _name, data) => gate.promise.then(() => data),
    })
    post({ kind: 'broadcast' })
    const first = board.next('a', { holdMs: 0 })
    const second = board.next('a', { holdMs: 60_000 })
    await settled()
    gate.resolve()
    const [one, two] = await Promise.all([first, second])
    expect(one).toMatchObject({ kind: 'task' })
    expect((two as Task).id).toBe((one as Task).id)
  })
})

describe('sites that are gone', () => {
  it('end a task when no other is left, but not while it is young', async () => {
    const { clock, board, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast' })
    await answer('a', await take('a'))
    board.siteDisconnected('b')
    board.siteDisconnected('c')
    await clock.advance(29_999)
    expect(await outcome(task)).toBe('open')
    await clock.advance(1)
    expect(await outcome(task)).toEqual({ status: 'client_dead', answered: ['a'] })
  })

  it('are not waited for by a relay, which takes what they answer later as late', async () => {
    const { clock, board, post, take, answer, outcome } = setUp()
    const late: unknown[] = []
    const task = post(
      { kind: 'relay', order: 'sequential', assignmentMs: 1000 },
      { onResult: (_, result) => void late.push(result.headers.get(HEADER.replyIsLate)) },
    )
    const taken = await take('a')
    board.siteDisconnected('a')
    const waiting = board.next('b', { holdMs: 60_000 })
    await clock.advance(29_999)
    expect((await board.next('c', { holdMs: 0 })).kind).toBe('nothing-yet')
    await clock.advance(1)
    const next = await waiting
    expect(next.kind).toBe('task')
    board.siteReconnected('a')
    await answer('a', taken)
    await answer('b', next as Task)
    await answer('c', await take('c'))
    expect(late).toEqual([true, undefined, undefined])
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })

  it('end a relay when the last one is gone with the task', async () => {
    const { clock, board, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'relay', order: 'sequential' }, { targets: ['a', 'b'] })
    await answer('a', await take('a'))
    await take('b')
    board.siteDisconnected('b')
    await clock.advance(30_000)
    expect(await outcome(task)).toEqual({ status: 'client_dead', answered: ['a'] })
  })

  it('count again when they come back', async () => {
    const { clock, board, post, take, answer, outcome } = setUp()
    const task = post({ kind: 'broadcast' }, { targets: ['a'] })
    board.siteDisconnected('a')
    board.siteReconnected('a')
    await clock.advance(60_000)
    expect(await outcome(task)).toBe('open')
    await answer('a', await take('a'))
    expect(await outcome(task)).toMatchObject({ status: 'ok' })
  })
})

describe('the board', () => {
  it('refuses tasks that cannot be served', () => {
    const { board, post } = setUp()
    expect(() => post({ kind: 'broadcast' }, { targets: [] })).toThrow(/no targets/)
    expect(() => post({ kind: 'broadcast' }, { targets: ['a', 'a'] })).toThrow(/twice/)
    expect(() => post({ kind: 'broadcast' }, { name: '' })).toThrow(/needs a name/)
    board.end()
    expect(() => post({ kind: 'broadcast' })).toThrow(/outside of a workflow/)
  })

  it('ends a task whose preparation fails', async () => {
    const { post, poll, outcome } = setUp()
    const task = post(
      { kind: 'broadcast' },
      {
        onBeforeSend: () => {
          throw new Error('not ready')
        },
      },
    )
    expect((await poll('a')).kind).toBe('nothing-yet')
    expect(await outcome(task)).toMatchObject({ status: 'error' })
  })

  it('keeps its promises whatever sites do', async () => {
    const sites = ['a', 'b', 'c']
    const command = fc.oneof(
      fc.record({ kind: fc.constant('poll' as const), site: fc.constantFrom(...sites) }),
      fc.record({
        kind: fc.constant('answer' as const),
        site: fc.constantFrom(...sites),
        by: fc.constantFrom(...sites),
      }),
      fc.record({
        kind: fc.constant('post' as const),
        min: fc.nat(3),
        timeout: fc.constantFrom(0, 500),
      }),
      fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 400 }) }),
      fc.record({ kind: fc.constant('gone' as const), site: fc.constantFrom(...sites) }),
      fc.record({ kind: fc.constant('back' as const), site: fc.constantFrom(...sites) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
        const { clock, board, post, poll, answer } = setUp()
        const open = new Map<string, Task>()
        const counted: string[] = []
        const posted: StandingTask[] = []
        for (const step of commands)
          switch (step.kind) {
            case 'post': {
              const number = posted.length
              posted.push(
                post(
                  { kind: 'broadcast', minResponses: step.min, waitMs: 100 },
                  {
                    name: `task-${number}`,
                    timeoutMs: step.timeout,
                    onResult: (site) => void counted.push(`${number}/${site}`),
                  },
                ),
              )
              break
            }
            case 'poll': {
              const offer = await poll(step.site)
              const had = open.get(step.site)
              if (offer.kind !== 'task') break
              // Never a second task before the first is answered or over.
              if (had !== undefined && board.isStanding(had.id)) expect(offer.id).toBe(had.id)
              open.set(step.site, offer)
              break
            }
            case 'answer': {
              const task = open.get(step.site)
              if (task === undefined) break
              const before = counted.length
              const stood = board.isStanding(task.id)
              await answer(step.by, task)
              expect(counted.length - before).toBe(stood && step.by === step.site ? 1 : 0)
              break
            }
            case 'advance':
              await clock.advance(step.ms)
              break
            case 'gone':
              board.siteDisconnected(step.site)
              break
            case 'back':
              board.siteReconnected(step.site)
              break
            default:
              step satisfies never
          }
        // Nobody counts twice in a task.
        expect(new Set(counted).size).toBe(counted.length)
        board.end()
        for (const task of posted) expect((await task.done).status).toBeDefined()
        expect(clock.pending).toBe(0)
        expect(board.size).toBe(0)
      }),
      { numRuns: 150 },
    )
  })
})
