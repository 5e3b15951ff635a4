import type { Cell, ReplyMessage } from '@hanse/cellnet'
import { silentLogger } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeClock, fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { LinkedCells } from '../../test/linked-cells.ts'
import { requestAux, returnCodeOf } from '../aux-messages/aux-messages.ts'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import { TaskClient } from './task-client.ts'
import { serveTasks, type TaskOffer, type TaskSource } from './task-service.ts'

const JOB = 'j1'
let cells: LinkedCells
let clock: FakeClock
beforeEach(async () => {
  cells = await LinkedCells.open()
  clock = fakeClock()
})
afterEach(() => cells[Symbol.asyncDispose]())

const propertiesOf = (run: string, name: string) =>
  new Map([
    ['__run_num__', run],
    ['__identity_name__', name],
  ])

/** A board that offers what the test puts into it. */
class FakeSource implements TaskSource {
  readonly offers: TaskOffer[] = []
  readonly asked: string[] = []
  readonly signs: string[] = []
  readonly results: { site: string; taskId: string; taskName: string; result: Shareable }[] = []
  readonly standing = new Set<string>()
  /** Thrown by the next submissions. */
  faults: Error[] = []
  holds: number[] = []

  async next(site: string, { holdMs }: { holdMs: number }): Promise<TaskOffer> {
    this.asked.push(site)
    this.holds.push(holdMs)
    return this.offers.shift() ?? { kind: 'nothing-yet' }
  }

  isStanding(taskId: string): boolean {
    return this.standing.has(taskId)
  }

  async submit(site: string, taskId: string, taskName: string, result: Shareable): Promise<void> {
    const fault = this.faults.shift()
    if (fault !== undefined) throw fault
    this.results.push({ site, taskId, taskName, result })
  }

  onSign(site: string): void {
    this.signs.push(site)
  }
}

/** The server's cell stands for its job's: the exchange does not care. */
function serve(participants = new Map([['site-1', 'site-1']])): FakeSource {
  const source = new FakeSource()
  serveTasks(cells.server, source, {
    jobId: JOB,
    participants,
    ownProperties: propertiesOf(JOB, 'league'),
    waitSeconds: 3,
    holdMs: 10_000,
  })
  return source
}

function clientOf(cell: Cell, run = JOB, more: { syncTimeoutMs?: number } = {}): TaskClient {
  return new TaskClient(
    { cell, clock, logger: silentLogger },
    {
      serverCell: 'server',
      project: 'league',
      ownProperties: propertiesOf(run, 'site-1'),
      ...more,
    },
  )
}

function taskOf(id: string, more: Partial<Extract<TaskOffer, { kind: 'task' }>> = {}): TaskOffer {
  return {
    kind: 'task',
    id,
    name: 'train',
    data: new Shareable(new Map([['current_round', 1]]), new Map([['x', 1]])),
    cookies: new Map<string, FobsValue>([['__workflow__', 'w']]),
    rootId: 'root',
    timeoutSeconds: 0,
    ...more,
  }
}

/** Moves time on whenever the client waits, until `pending` is settled. */
async function inTime<Value>(pending: Promise<Value>): Promise<Value> {
  let settled = false
  const done = pending.finally(() => {
    settled = true
  })
  done.catch(() => undefined)
  while (!settled) {
    await new Promise((resolve) => setImmediate(resolve))
    if (clock.pending > 0) clock.advance(60_000)
  }
  return done
}

describe('the exchange of tasks', () => {
  it('brings a task and takes its result back, by the cookie', async () => {
    const source = serve()
    const client = clientOf(await cells.linked('site-1.j1'))
    await client.sync()
    source.offers.push(taskOf('t1'))
    source.standing.add('t1')
    const task = await client.nextTask()
    expect(task).toMatchObject({ id: 't1', name: 'train' })
    expect(task!.data.content.get('x')).toBe(1)
    expect(task!.data.headers.get('current_round')).toBe(1)
    expect(task!.data.headers.get('__peer_ctx__')).toBeInstanceOf(FLContext)

    const result = new Shareable(new Map(), new Map([['y', 2]]))
    expect(await client.submit(task!, result)).toBe('accepted')
    expect(source.results).toMatchObject([{ site: 'site-1', taskId: 't1', taskName: 'train' }])
    const { headers, content } = source.results[0]!.result
    expect(content.get('y')).toBe(2)
    expect(headers.get('__cookie_jar__')).toEqual(
      new Map([
        ['__workflow__', 'w'],
        ['__task_id__', 't1'],
      ]),
    )
    expect(source.signs.every((site) => site === 'site-1')).toBe(true)
    expect(source.holds).toEqual([10_000])
  })

  it('leaves the data of a task, which all sites share, as it is', async () => {
    const source = serve()
    const data = new Shareable()
    source.offers.push(taskOf('t1', { data }))
    await clientOf(await cells.linked('site-1.j1')).nextTask()
    expect([...data.headers, ...data.content]).toEqual([])
  })

  it('asks again after the pause that the server names', async () => {
    const source = serve()
    const client = clientOf(await cells.linked('site-1.j1'))
    source.offers.push({ kind: 'nothing-yet' }, taskOf('t1'))
    const waits: number[] = []
    const setTimer = clock.setTimer.bind(clock)
    clock.setTimer = (ms, act) => {
      waits.push(ms)
      return setTimer(ms, act)
    }
    expect(await inTime(client.nextTask())).toMatchObject({ id: 't1' })
    expect(waits).toEqual([3_000])
    expect(source.asked).toEqual(['site-1', 'site-1'])
  })

  it('ends when the server says so, and when it is asked for another run', async () => {
    const source = serve()
    const cell = await cells.linked('site-1.j1')
    source.offers.push({ kind: 'end' })
    expect(await clientOf(cell).nextTask()).toBeUndefined()
    expect(await clientOf(cell, 'j2').nextTask()).toBeUndefined()
    expect(source.asked).toHaveLength(1)
  })

  it('stops to wait at the signal, with its reason', async () => {
    serve()
    const stop = new AbortController()
    const pending = clientOf(await cells.linked('site-1.j1')).nextTask({ signal: stop.signal })
    stop.abort(new Error('the job was aborted'))
    await expect(pending).rejects.toThrow('the job was aborted')
  })

  it('waits for a server that is away, with a task and with a result', async () => {
    const source = serve()
    const cell = cells.cell('site-1.j1')
    const client = clientOf(cell)
    source.offers.push(taskOf('t1'))
    source.standing.add('t1')
    const waiting = client.nextTask()
    await expect.poll(() => clock.pending).toBe(1)
    const connector = await cells.link(cell)
    const task = await inTime(waiting)
    expect(task).toMatchObject({ id: 't1' })

    await connector[Symbol.asyncDispose]()
    const submitting = client.submit(task!, new Shareable())
    await expect.poll(() => clock.pending).toBe(1)
    await cells.link(cell)
    expect(await inTime(submitting)).toBe('accepted')
    expect(source.results).toHaveLength(1)
  })

  it('hands a result in again when the server could not take it', async () => {
    const source = serve()
    const client = clientOf(await cells.linked('site-1.j1'))
    source.offers.push(taskOf('t1'))
    source.standing.add('t1')
    const task = await client.nextTask()
    source.faults = [new Error('the disk is full')]
    expect(await inTime(client.submit(task!, new Shareable()))).toBe('accepted')
    expect(source.results).toHaveLength(1)
  })

  it('does not hand in what is not wanted any more', async () => {
    const source = serve()
    const client = clientOf(await cells.linked('site-1.j1'))
    source.offers.push(taskOf('t1'))
    const task = await client.nextTask()
    expect(await client.submit(task!, new Shareable())).toBe('not-wanted')
    expect(source.results).toEqual([])
  })

  it('gives up the first contact after its time', async () => {
    const client = clientOf(await cells.linked('site-1.j1'), JOB, { syncTimeoutMs: 1_000 })
    await expect(inTime(client.sync())).rejects.toMatchObject({ code: 'ERR_SERVER_UNREACHABLE' })
  })
})

describe('the server of tasks', () => {
  it('serves no site that takes no part, nor a site for another', async () => {
    const source = serve(
      new Map([
        ['site-1', 'site-1'],
        ['site-2', 'site-2'],
      ]),
    )
    for (const name of ['site-3.j1', 'site-1', 'site-1.j2', 'site-10.j1']) {
      const cell = await cells.linked(name)
      await expect(clientOf(cell).nextTask()).rejects.toMatchObject({
        code: 'ERR_NOT_A_PARTICIPANT',
      })
      const reply = await requestAux(
        cell,
        'server',
        '__sync_runner__',
        new Shareable(),
        propertiesOf(JOB, 'site-1'),
      )
      expect(returnCodeOf(reply)).toBe('unauthenticated')
    }
    expect([source.asked, source.signs]).toEqual([[], []])
  })

  it('knows a site by its cell, not by what it says', async () => {
    const source = serve(
      new Map([
        ['site-1', 'site-1'],
        ['site-2', 'relay.site-2'],
      ]),
    )
    source.offers.push(taskOf('t1'), taskOf('t2'))
    await clientOf(await cells.linked('relay.site-2.j1')).nextTask()
    await clientOf(await cells.linked('site-1.j1.below')).nextTask()
    expect(source.asked).toEqual(['site-2', 'site-1'])
  })

  async function ask(topic: string, body: unknown): Promise<ReplyMessage> {
    const cell = await cells.linked('site-1.j1')
    return cell.request('server', 'server_command', topic, body)
  }

  it('lets a site that does not say which run it means try again, as stock does', async () => {
    serve()
    const reply = await ask('get_task', new Shareable())
    expect((reply.body as Shareable).headers.get('task_name')).toBe('__try_again__')
    expect((reply.body as Shareable).headers.get('__wait_time__')).toBe(3)
  })

  it('answers ok to results that it drops, so that they are not sent again', async () => {
    const source = serve()
    const context = FLContext.ofPublic([['__run_num__', JOB]])
    const cell = await cells.linked('site-1.j1')
    for (const headers of [
      new Map<string, FobsValue>([['__peer_ctx__', context]]),
      new Map<string, FobsValue>([
        ['__peer_ctx__', FLContext.ofPublic([['__run_num__', 'j2']])],
        ['__task_name__', 'train'],
        ['__cookie_jar__', new Map([['__task_id__', 't1']])],
      ]),
    ])
      expect(
        await cell.request('server', 'server_command', 'submit_update', new Shareable(headers)),
      ).toMatchObject({ returnCode: 'ok', body: '' })
    expect(source.results).toEqual([])
  })

  it.each(['get_task', 'submit_update'])('takes nothing but a Shareable for %s', async (topic) => {
    serve()
    expect(await ask(topic, 'text')).toMatchObject({ returnCode: 'invalid_request' })
  })

  it('asks for the id of a task that is checked', async () => {
    serve()
    const reply = await requestAux(
      await cells.linked('site-1.j1'),
      'server',
      '__task_check__',
      new Shareable(),
      propertiesOf(JOB, 'site-1'),
    )
    expect(returnCodeOf(reply)).toBe('BAD_REQUEST_DATA')
  })
})
