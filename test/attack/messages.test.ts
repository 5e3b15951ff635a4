import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { AdminMessage, COMMAND } from '@hanse/session'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { command, fobs, logIn } from '../support/attacker-login.ts'
import { AttackScene } from '../support/attacker-scene.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { SERVER } from '../support/league.ts'

const BOSS = 'boss@example.org'

let scene: AttackScene
beforeAll(async () => {
  scene = await AttackScene.start()
})
afterAll(() => scene?.[Symbol.asyncDispose]())
beforeEach(() => scene.begin())
afterEach(({ task }) => scene.end(task))

const unauthenticated = (reason: RegExp) => ({
  returnCode: 'unauthenticated',
  error: expect.stringMatching(reason),
})

describe('a message', () => {
  it('without a token is refused, on every channel', async () => {
    const peer = await scene.link('site-3')
    for (const [cn__channel, cn__topic] of [
      ['task', 'heart_beat'],
      ['task', 'quit'],
      ['task', 'report_job_failure'],
      ['server_command', 'get_task'],
      ['server_command', 'submit_update'],
      ['server_parent_listener', 'job_execution_status'],
      ['aux_communication', 'anything'],
      ['hci_channel', 'command'],
      ['admin', 'admin'],
      ['client_command', 'abort'],
      ['credential_manager', 'key_exchange'],
      ['cellnet.channel', 'bulk'],
      ['download_service__', 'download_service__download'],
      ['_net_manager', 'stop_cell'],
    ]) {
      const reply = await peer.request({ cn__channel, cn__topic })
      expect(reply, `${cn__channel}/${cn__topic}`).toMatchObject(unauthenticated(/no token/))
    }
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', text: /no token/ })
  })

  it.each([
    ['made up', 'hanse1.WyJzaXRlIiwic2l0ZS0zIl0.AAAA'],
    ['like those of stock', randomUUID()],
    ['of another length', 'x'.repeat(40_000)],
  ])('with a token that is %s is refused', async (_what, token) => {
    const peer = await scene.link('site-3')
    const stamp = { client_name: 'site-3', __token__: token, __token_signature__: 'AAAA' }
    const reply = await peer.request({ ...stamp, cn__topic: `${token.length}` })
    expect(reply).toMatchObject(unauthenticated(/not issued by this server/))
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', text: /not issued/ })
  })

  it("with another member's token is refused, over whichever link", async () => {
    const { stamp } = await scene.intruder('site-4')
    const thief = await scene.link('site-3')
    expect(await thief.request({ ...stamp, cn__topic: 'heart_beat' })).toMatchObject(
      unauthenticated(/origin|link of another cell/),
    )
    await scene.recorded(SERVER, { actor: 'site-3', code: 'unauthenticated', text: /'site-4'/ })
    const fresh = await scene.link('site-3', scene.personCell())
    expect(await fresh.request({ ...stamp, cn__topic: 'quit' })).toMatchObject(unauthenticated(/./))
  })

  it('with its own token is refused from another cell of the same certificate', async () => {
    const { stamp } = await scene.intruder('site-3')
    const other = await scene.link('site-3', scene.personCell())
    expect(await other.request({ ...stamp, cn__topic: 'report_job_failure' })).toMatchObject(
      unauthenticated(/not the cell that logged in/),
    )
    await scene.recorded(SERVER, { actor: 'site-3', text: /not the cell that logged in/ })
  })

  it('with a token that a later login replaced is refused', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    await logIn(peer, await scene.identityOf('site-3'))
    expect(await peer.request({ ...stamp, cn__topic: 'heart_beat' })).toMatchObject(
      unauthenticated(/logged in again/),
    )
    await scene.recorded(SERVER, { actor: 'site-3', text: /logged in again/ })
  })

  it.each([
    'site-1',
    'site-1.0b1c',
    'site-33',
    'server',
    'server.0b1c',
    '_admin_0b1c0000-0000-4000-8000-000000000000',
  ])('in the name of %s is refused', async (origin) => {
    const { peer, stamp } = await scene.intruder('site-3')
    const reply = await peer.request({ ...stamp, cn__origin: origin, cn__topic: 'heart_beat' })
    expect(reply.returnCode).toBe('unauthenticated')
    await scene.recorded(SERVER, {
      actor: 'site-3',
      act: 'protocol',
      code: 'forged-origin',
      text: new RegExp(`'${origin}'`),
    })
  })

  it('of farewell in the name of another site cuts nobody off', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const bye = { cn__channel: 'cellnet.channel', cn__topic: 'bye' }
    expect(await peer.request({ ...bye, cn__origin: 'site-1' })).toMatchObject({
      returnCode: 'unauthenticated',
    })
    await scene.recorded(SERVER, { code: 'forged-origin', text: /cellnet.channel\/bye/ })
    // Nor does one that is passed on, with a good token, to the other site.
    const passedOn = await peer.request({ ...stamp, ...bye, cn__destination: 'site-1' })
    expect(passedOn.returnCode).toBe('unauthenticated')
    await scene.recorded('site-1', { actor: 'site-3', code: 'not-the-server' })
  })

  it('is not served in the name of its own job either, unless that runs', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const job = randomUUID()
    const reply = await peer.request({
      ...stamp,
      cn__channel: 'server_command',
      cn__topic: 'get_task',
      cn__origin: `site-3.${job}`,
      cn__destination: `server.${job}`,
    })
    // No entry: the last words of honest jobs come after their end, too.
    expect(reply.returnCode).not.toBe('ok')
  })
})

describe('a site with a good token', () => {
  it.each([
    ['a command to another site', COMMAND.abort],
    ['a deployment to another site', COMMAND.deploy],
    ['a start at another site', COMMAND.startJob],
    ['a request for what another site has', COMMAND.reportEnvironment],
  ])('gets nowhere with %s', async (_what, topic) => {
    const { peer, stamp } = await scene.intruder('site-3')
    const body = new AdminMessage(topic, null, new Map([['job_id', randomUUID()]]))
    const target = {
      cn__channel: 'admin',
      cn__topic: topic,
      cn__destination: 'site-1',
    }
    const reply = await peer.request({ ...stamp, ...target }, fobs(body))
    expect(reply).toMatchObject({ returnCode: 'unauthenticated' })
    await scene.recorded('site-1', {
      actor: 'site-3',
      act: 'message',
      code: 'not-the-server',
      text: /another member may not speak to this site/,
    })
  })

  it('reaches no site by a bulk message, by transit or by a job cell', async () => {
    const { peer, stamp } = await scene.intruder('site-4')
    const body = new AdminMessage(COMMAND.abort, null, new Map([['job_id', randomUUID()]]))
    const inner = new Map<string, unknown>([
      ['headers', new Map([['cn__payload_encoding', 'fobs']])],
      ['payload', fobs(body)],
    ])
    const bulk = fobs([
      new Map<string, unknown>([
        ['target', 'site-2'],
        ['channel', 'admin'],
        ['topic', 'admin'],
        ['message', inner],
      ]),
    ])
    const ways: [Record<string, unknown>, Uint8Array][] = [
      [{ cn__channel: 'cellnet.channel', cn__topic: 'bulk', cn__destination: 'site-2' }, bulk],
      [
        { cn__channel: 'admin', cn__destination: 'site-2', cn__server_transit_required: true },
        fobs(body),
      ],
      [{ cn__channel: 'admin', cn__destination: 'site-2', cn__origin: 'site-4.j' }, fobs(body)],
    ]
    for (const [headers, payload] of ways) {
      const reply = await peer.request({ ...stamp, ...headers }, payload)
      expect(reply.returnCode, JSON.stringify(headers)).toBe('unauthenticated')
    }
    await scene.recorded('site-2', { actor: 'site-4', text: /another member/ })
  })

  it('has no power over a site as a person either: only the server gives commands', async () => {
    const cell = scene.personCell()
    const { peer, stamp } = await scene.intruder(BOSS, cell)
    const body = fobs(new AdminMessage(COMMAND.abort, null, new Map([['job_id', randomUUID()]])))
    const target = { cn__channel: 'admin', cn__topic: 'by-a-person', cn__destination: 'site-2' }
    const reply = await peer.request({ ...stamp, ...target }, body)
    expect(reply.returnCode).toBe('unauthenticated')
    await scene.recorded('site-2', { actor: cell, code: 'not-the-server' })
  })

  it('learns no token of those it writes to', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const reply = await peer.request({
      ...stamp,
      cn__channel: 'admin',
      cn__destination: 'site-1',
      cn__server_transit_required: true,
    })
    expect(Object.keys(reply.headers).filter((key) => /token|ssid/.test(key))).toEqual([])
  })

  it('is no person', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    for (const text of ['list_jobs', 'submit_job x', '_cert_login site-3', 'shutdown all'])
      expect(await command(peer, stamp, text, undefined), text).toMatch(/only a person/)
    await scene.recorded(SERVER, { actor: 'site-3', act: 'command', code: 'no-person' })
  })

  it('is none of the jobs of the server', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    for (const cn__topic of ['update_run_status', 'job_execution_status', 'ready', 'progress'])
      expect(
        (await peer.request({ ...stamp, cn__channel: 'server_parent_listener', cn__topic }))
          .returnCode,
      ).not.toBe('ok')
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', code: 'not-own-job' })
  })

  it('cannot report the end of a job that it is not in', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const job = randomUUID()
    const body = fobs(
      new Map<string, unknown>([
        ['job_id', job],
        ['code', 101],
        ['reason', 'I said so'],
      ]),
    )
    const topic = { cn__topic: 'report_job_failure' }
    expect((await peer.request({ ...stamp, ...topic }, body)).returnCode).toBe('ok')
  })

  it('reaches no job that it takes no part in, nor the data offered there', async () => {
    const gate = `if (site !== '') await new Promise(() => setInterval(() => {}, 1000))`
    const folder = await writeJob(scene.league.folder, {
      name: 'waits',
      rounds: 1,
      trainer: trainerOf(gate),
      meta: { deploy_map: { app: ['server', 'site-1', 'site-2'] } },
    })
    const job = await scene.session.submit(folder)
    await scene.league
      .place(SERVER)
      .event((event) => event['job'] === job && event['status'] === 'RUNNING')
    const { peer, stamp } = await scene.intruder('site-3')
    for (const [cn__channel, cn__topic] of [
      ['server_command', 'get_task'],
      ['aux_communication', 'anything'],
      ['download_service__', 'download_service__download'],
      ['cellnet.channel', 'bye'],
      ['server_command', 'abort'],
    ]) {
      const to = { cn__channel, cn__topic, cn__destination: `server.${job}` }
      for (const cn__origin of ['site-3', `site-3.${job}`])
        expect(
          await peer.request({ ...stamp, ...to, cn__origin }),
          `${cn__channel}/${cn__topic}`,
        ).toMatchObject(unauthenticated(/takes no part/))
    }
    await scene.recorded(SERVER, { actor: 'site-3', act: 'message', code: 'not-in-job' })
    const end = fobs(
      new Map<string, unknown>([
        ['job_id', job],
        ['code', 101],
        ['reason', 'I said so'],
      ]),
    )
    await peer.request({ ...stamp, cn__topic: 'report_job_failure' }, end)
    expect((await scene.session.show(job)).status).toBe('RUNNING')
    await scene.session.abort(job)
    await scene.session.wait(job)
  })

  it('cannot acknowledge what is sent to another', async () => {
    const { peer, stamp } = await scene.intruder('site-3')
    const ack = {
      cn__channel: 'sm__STREAM',
      cn__topic: 'sm__ACK',
      sm__id: Number(randomBytes(6).readUIntBE(0, 6)),
      sm__dt: 3,
      sm__os: 2 ** 40,
    }
    peer.send({ ...stamp, ...ack, cn__origin: 'site-1' })
    await scene.recorded(SERVER, { actor: 'site-3', code: 'forged-origin', text: /sm__ACK/ })
    // In its own name it is of no effect: only the receiver of a stream is believed.
    peer.send({ ...stamp, ...ack })
    peer.send({ ...stamp, ...ack, cn__topic: 'sm__ERROR', sm__dt: 6, sm__fd: 'site-1' })
    expect((await peer.request({ ...stamp, cn__topic: 'heart_beat' })).returnCode).toBe('ok')
  })

  it('makes the server dial nobody by naming an address', async () => {
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    scene.owns({ [Symbol.asyncDispose]: async () => void listener.close() })
    let dialled = 0
    listener.on('connection', (socket) => {
      dialled += 1
      socket.destroy()
    })
    const address = listener.address() as { port: number }
    const url = `tcp://127.0.0.1:${address.port}`
    const { peer, stamp } = await scene.intruder('site-3')
    for (const cn__destination of ['server', 'site-1', 'site-9', 'server.x'])
      await peer.request({ ...stamp, cn__topic: 'heart_beat', cn__conn_url: url, cn__destination })
    // An answer to a later message comes after whatever the earlier ones have led to.
    await peer.request({ ...stamp, cn__topic: 'heart_beat' })
    await scene.expectUnharmed()
    expect(dialled).toBe(0)
  })
})

describe('a reference to data', () => {
  it('of a download is of no use to who stole it', async () => {
    const job = await scene.expectJobCompletes()
    const { meta } = await scene.session.command(`download_job ${job}`)
    const [[, refId = ''] = []] = meta['files'] as [string, string][]
    const { peer, stamp } = await scene.intruder('site-3')
    const pull = fobs(new Map([['ref_id', refId]]))
    expect(refId).not.toBe('')
    expect(
      await peer.streamed('download_service__', 'download_service__download', stamp, pull),
    ).toMatchObject({ returnCode: 'invalid_request', payload: Buffer.alloc(0) })
    await scene.recorded(SERVER, { actor: 'site-3', act: 'protocol', code: 'foreign-download' })
    // The person it was for still gets it.
    await scene.session.download(job, join(scene.league.folder, 'downloads'))
  })
})

it('does its work after all that, and has a record of it', async () => {
  scene.noAttack()
  await scene.expectJobCompletes()
  await scene.expectRecordsHold()
})
