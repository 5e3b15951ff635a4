import { Tensor } from '@hanse/tensor'
import { describe, expect, it, vi } from 'vitest'
import { FrameDecoder } from './frame.ts'
import {
  encodeMessage,
  parseTrainerMessage,
  type SiteMessage,
  type TrainerMessage,
} from './messages.ts'
import type { TrainerModel } from './trainer-model.ts'
import { type ByteChannel, TrainerSession } from './trainer-session.ts'
import type { MetaValue } from './wire-value.ts'

const WELCOME: SiteMessage = {
  type: 'welcome',
  protocol: 1,
  jobId: 'job',
  siteName: 'site-1',
  taskNames: { train: 'train', evaluate: 'validate', submitModel: 'submit_model' },
  datasets: {},
  scratchDirectory: '/scratch',
  trainWithEvaluation: false,
  transferType: 'FULL',
}
const weights = new Tensor('float32', [2], Float32Array.of(1, 2))

/** A site in memory: what it is told, and what it says. */
function makeSite() {
  const stream = new TransformStream<Uint8Array, Uint8Array>(undefined, undefined, {
    highWaterMark: 100,
  })
  const writer = stream.writable.getWriter()
  const decoder = new FrameDecoder()
  const heard: TrainerMessage<MetaValue>[] = []
  const held: boolean[] = []
  const close = vi.fn()
  const channel: ByteChannel = {
    chunks: stream.readable as unknown as AsyncIterable<Uint8Array>, // Node's are; the DOM types lag
    async write(parts) {
      for (const part of parts)
        for (const frame of decoder.push(part)) heard.push(parseTrainerMessage(frame))
    },
    hold: (waiting) => held.push(waiting),
    close,
  }
  return {
    channel,
    heard,
    held,
    close,
    async say(...messages: SiteMessage[]) {
      for (const message of messages)
        for (const part of encodeMessage(message)) await writer.write(part)
    },
    hangUp: () => writer.close(),
    break: (reason: Error) => writer.abort(reason),
  }
}

const task = (id: number, name = 'train'): SiteMessage => ({
  type: 'task',
  id,
  name,
  model: { params: { weights }, paramsType: 'FULL', currentRound: id },
})

describe('TrainerSession', () => {
  it('greets, takes tasks one by one, and ends when the site says so', async () => {
    const site = makeSite()
    await site.say(WELCOME, task(1))
    const session = await TrainerSession.open(site.channel)
    expect(session.welcome).toMatchObject({ jobId: 'job', siteName: 'site-1' })

    expect(await session.isRunning()).toBe(true)
    const model = await session.receive()
    expect(model).toMatchObject({ currentRound: 1 })
    expect(await session.receive()).toBe(model)
    expect(session.taskName).toBe('train')
    await session.log('loss', 0.5, { step: 3 })
    await session.send({ params: { weights }, metrics: { accuracy: 1 } })

    const next = session.isRunning()
    await site.say(task(2, 'validate'))
    expect(await next).toBe(true)
    await session.receive()
    await session.send({ metrics: { accuracy: 0.5 } })
    await site.say({ type: 'end' })
    expect(await session.isRunning()).toBe(false)
    expect(await session.receive()).toBeUndefined()
    expect(site.close).toHaveBeenCalled()

    expect(site.heard).toMatchObject([
      { type: 'hello', protocols: [1] },
      { type: 'log', key: 'loss', value: 0.5, step: 3 },
      { type: 'result', id: 1, model: { paramsType: 'FULL' } },
      { type: 'result', id: 2, model: { metrics: { accuracy: 0.5 } } },
    ])
    expect(site.held.at(-1)).toBe(false)
  })

  it('keeps to the order of calls', async () => {
    const site = makeSite()
    await site.say(WELCOME, task(1))
    const session = await TrainerSession.open(site.channel)
    await session.isRunning()
    const early = session.send({ metrics: {} })
    await expect(early).rejects.toMatchObject({ code: 'ERR_TRAINER_ORDER' })
    await session.receive()
    await expect(session.send({})).rejects.toMatchObject({ code: 'ERR_TRAINER_VALUE' })
    const number = { params: { w: 1 } } as unknown as TrainerModel
    await expect(session.send(number)).rejects.toMatchObject({ code: 'ERR_TRAINER_VALUE' })
    await session.send({ metrics: {} })
    await expect(session.send({ metrics: {} })).rejects.toMatchObject({ code: 'ERR_TRAINER_ORDER' })
    expect(() => session.taskName).toThrow('no current task')
  })

  it('stops when the job is aborted', async () => {
    const site = makeSite()
    await site.say(WELCOME, task(1))
    const session = await TrainerSession.open(site.channel)
    await session.receive()
    await site.say({ type: 'abort', reason: 'enough' })
    await vi.waitFor(() => expect(site.close).toHaveBeenCalled())
    expect(await session.isRunning()).toBe(false)
  })

  it('fails what waits when the pipe ends without a word', async () => {
    const site = makeSite()
    const onLost = vi.fn()
    await site.say(WELCOME)
    const session = await TrainerSession.open(site.channel, { onLost })
    const waiting = session.receive()
    await site.hangUp()
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_TRAINER_CLOSED' })
    expect(onLost).toHaveBeenCalledOnce()
    await expect(session.log('x', 1)).rejects.toMatchObject({ code: 'ERR_TRAINER_CLOSED' })
  })

  it('fails when the pipe breaks', async () => {
    const site = makeSite()
    const opening = TrainerSession.open(site.channel)
    await site.break(new Error('EPIPE'))
    await expect(opening).rejects.toMatchObject({ code: 'ERR_TRAINER_CLOSED' })
  })

  it('does not take a site that speaks another version', async () => {
    const site = makeSite()
    await site.say({ ...WELCOME, protocol: 2 } as SiteMessage)
    await expect(TrainerSession.open(site.channel)).rejects.toMatchObject({
      code: 'ERR_TRAINER_REFUSED',
    })
  })

  it.each([
    ['a task before the welcome', [task(1)]],
    ['two tasks at once', [WELCOME, task(1), task(2)]],
    ['two welcomes', [WELCOME, WELCOME]],
  ])('does not take %s', async (_, messages) => {
    const site = makeSite()
    const lost = Promise.withResolvers<Error>()
    await site.say(...messages)
    const opened = TrainerSession.open(site.channel, { onLost: lost.resolve })
    opened.catch(() => {})
    expect(await lost.promise).toMatchObject({ code: 'ERR_TRAINER_PROTOCOL' })
  })

  it('stops waiting when asked to', async () => {
    const site = makeSite()
    await site.say(WELCOME)
    const session = await TrainerSession.open(site.channel)
    const controller = new AbortController()
    const waiting = session.receive({ signal: controller.signal })
    controller.abort(new Error('no longer'))
    await expect(waiting).rejects.toThrow('no longer')
  })
})
