import { readdir } from 'node:fs/promises'
import { type CommandReply, sendObjectStream, writeCommandRequest } from '@hanse/session'
import { afterEach, describe, expect, it } from 'vitest'
import { RawPerson } from '../../../admin/test/raw-person.ts'
import {
  FakeControl,
  TestIdentities,
  TestServer,
  type TestServerOptions,
} from '../../../admin/test/test-league.ts'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'

const identities = new TestIdentities()
const LEAD = 'lead@example.org'

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const server = await TestServer.start(identities, new FakeControl(), options)
  open.push(server)
  return server
}

async function logIn(server: TestServer, name = LEAD, role = 'lead') {
  const { person, token } = await RawPerson.logIn(server, await identities.of(name, role))
  open.push(person)
  return { person, token }
}

function lastItem({ items }: CommandReply): unknown {
  const item = items.at(-1)
  return item === undefined || item.type === 'table' ? item : [item.type, item.data]
}

const status = ({ meta }: CommandReply) => (meta as { status?: unknown }).status

async function upload(
  { person, token }: { person: RawPerson; token: string | undefined },
  bytes: Uint8Array,
  { command = 'job_mgmt.submit_job folder', claimed = bytes.length, pieceBytes = 1 << 20 } = {},
) {
  return sendObjectStream(
    { cell: person.cell, ownProperties: new Map([['__identity_name__', 'x']]) },
    {
      target: 'server',
      channel: 'hci.upload',
      topic: 'folder',
      context: new Map([
        ['conn_data', writeCommandRequest({ command, token, meta: {} }, new Date())],
      ]),
      fileName: 'a.zip',
      fileSize: claimed,
      content: (async function* () {
        yield bytes
      })(),
    },
    { pieceBytes },
  )
}

describe('a login', () => {
  it('gives a token, and the table of commands that stock tools need', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    const { items } = await person.command('_commands', token)
    const [table] = items
    if (table?.type !== 'table') throw new Error('no table')
    expect(table.rows[0]).toEqual([
      'SCOPE',
      'COMMAND',
      'DESCRIPTION',
      'USAGE',
      'CONFIRM',
      'CLIENTCMD',
      'VISIBLE',
    ])
    const commands = new Map(table.rows.slice(1).map((row) => [row[1], row]))
    expect([...commands.keys()]).toEqual(
      expect.arrayContaining(['submit_job', 'list_jobs', 'get_job_meta', 'download_job']),
    )
    expect(commands.get('submit_job')?.[5]).toBe('file_transfer.push_folder')
    expect(commands.get('download_job')?.[5]).toBe('file_transfer.pull_folder')
    expect([...commands.keys()].some((name) => name?.startsWith('_'))).toBe(false)
  })

  it.each<[string, (person: RawPerson) => Promise<CommandReply>]>([
    [
      "with another person's certificate and proof",
      async (person) => person.certLogin(await identities.of('boss@example.org', 'project_admin')),
    ],
    [
      "under another person's name, with their replayed proof",
      async (person) => {
        const boss = await identities.of('boss@example.org', 'project_admin')
        return person.certLogin(boss, boss.name)
      },
    ],
    ['without a name', (person) => person.certLogin(undefined, '')],
    ['without a proof', (person) => person.command(`_cert_login ${LEAD}`)],
    [
      'with a signature of something else',
      (person) => person.certLogin(undefined, undefined, { signature: new Uint8Array(256) }),
    ],
  ])('is refused %s', async (_, attack) => {
    const server = await startServer()
    const person = await RawPerson.register(server, await identities.of(LEAD, 'lead'))
    open.push(person)
    const reply = await attack(person)
    expect(reply.items).toEqual([{ type: 'string', data: 'REJECT' }])
    expect(server.record.at(-1)).toMatchObject({ act: 'session.open', outcome: 'refused' })
  })

  it('into a study is refused with the code that stock gives', async () => {
    const server = await startServer()
    const person = await RawPerson.register(server, await identities.of(LEAD, 'lead'))
    open.push(person)
    const { items } = await person.certLogin(undefined, undefined, { study: 'cancer' })
    expect(items).toEqual([
      { type: 'string', data: expect.stringMatching(/^REJECT: AUTH_STUDY_NOT_CONFIGURED: /) },
    ])
  })
})

describe('a session token', () => {
  it('is refused from another cell of the same person', async () => {
    const server = await startServer()
    const one = await logIn(server)
    const two = await logIn(server)
    const reply = await two.person.command('list_jobs', one.token)
    expect(lastItem(reply)).toEqual(['error', expect.stringContaining('session_inactive')])
    expect(status(reply)).toBe('not_authenticated')
    expect(server.record.at(-1)).toMatchObject({ act: 'list_jobs', code: 'session-foreign' })
    expect(status(await one.person.command('list_jobs', one.token))).toBe('ok')
  })

  it('is refused from the cell of another person', async () => {
    const server = await startServer()
    const lead = await logIn(server)
    const member = await logIn(server, 'member@example.org', 'member')
    const reply = await member.person.command('list_jobs', lead.token)
    expect(status(reply)).toBe('not_authenticated')
  })

  it('is worth nothing after logout', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    expect(lastItem(await person.command('_logout', token))).toEqual(['string', 'OK'])
    expect(status(await person.command('list_jobs', token))).toBe('not_authenticated')
    expect(status(await person.command('_check_session', token))).toBe('not_authenticated')
  })

  it('is worth nothing after the idle limit, and its cell is told', async () => {
    const clock = fakeClock()
    const server = await startServer({ clock, idleTimeoutMs: 60_000 })
    const { person, token } = await logIn(server)
    const { promise, resolve } = Promise.withResolvers<string>()
    person.cell.handle('hci_channel', 'SESSION_EXPIRED', ({ body }) => {
      resolve(String(body))
      return undefined
    })
    clock.advance(65_000)
    expect(await promise).toContain('idle')
    expect(status(await person.command('list_jobs', token))).toBe('not_authenticated')
  })

  it('cannot be forged or left out', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    const [body = '', signature = ''] = token.split(':')
    const claims = JSON.parse(Buffer.from(body, 'base64').toString()) as Record<string, unknown>
    const forged = Buffer.from(JSON.stringify({ ...claims, r: 'project_admin' })).toString('base64')
    for (const attempt of [`${forged}:${signature}`, 'x', '', undefined])
      expect(status(await person.command('list_jobs', attempt))).toBe('not_authenticated')
  })

  it('does nothing for a cell that did not register', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    person.credentials = undefined
    const reply = await person.cell.request(
      'server',
      'hci_channel',
      'command',
      writeCommandRequest({ command: 'list_jobs', token, meta: {} }, new Date()),
      { timeoutMs: 10_000 },
    )
    expect(reply).toMatchObject({
      returnCode: 'comm_error',
      error: expect.stringContaining('unauthenticated'),
    })
  })
})

describe('a command', () => {
  it('is answered with what went wrong when it is unknown or broken', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    expect(lastItem(await person.command('no_such_command', token))).toEqual([
      'error',
      'Unknown command "no_such_command"',
    ])
    for (const text of [5, '{', '{"data":[]}', 'x'.repeat(2 * 1024 * 1024)])
      expect(lastItem(await person.text(text))).toEqual([
        'error',
        expect.stringContaining('protocol violation'),
      ])
  })

  it('may be named with its scope, and not with another', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    expect(status(await person.command('job_mgmt.list_jobs', token))).toBe('ok')
    expect(status(await person.command('training.list_jobs', token))).toBe('syntax_error')
  })

  it('is decided by the policy, explained and recorded', async () => {
    const server = await startServer()
    const id = server.control.add()
    const { person, token } = await logIn(server, 'member@example.org', 'member')
    const reply = await person.command(`abort_job ${id}`, token)
    expect(status(reply)).toBe('not_authorized')
    expect(lastItem(reply)).toEqual([
      'error',
      expect.stringMatching(
        /^Authorization Error: user 'member@example.org' is not authorized for 'abort_job'/,
      ),
    ])
    expect(server.control.jobs.get(id)?.state).toBe('SUBMITTED')
    expect(server.record.at(-1)).toMatchObject({
      actor: { name: 'member@example.org', role: 'member' },
      act: 'abort_job',
      job: id,
      outcome: 'refused',
      code: 'right-not-granted',
    })
  })

  it('about the job of another is decided by who submitted it', async () => {
    const server = await startServer()
    const own = server.control.add()
    const foreign = server.control.add({ submitter_name: 'other@example.org' })
    const { person, token } = await logIn(server)
    expect(status(await person.command(`delete_job ${foreign}`, token))).toBe('not_authorized')
    expect(status(await person.command(`get_job_log ${foreign}`, token))).toBe('not_authorized')
    expect(status(await person.command(`get_job_log ${own}`, token))).toBe('ok')
    expect(status(await person.command(`delete_job ${own}`, token))).toBe('ok')
  })

  it('does not see jobs of another study', async () => {
    const server = await startServer()
    const id = server.control.add({ study: 'cancer' })
    const { person, token } = await logIn(server)
    const meta = await person.command(`get_job_meta ${id}`, token)
    expect(meta.meta).toEqual({ status: 'invalid_job_id', info: id })
    expect(lastItem(meta)).toEqual(['error', `no such job: ${id}`])
    expect((await person.command('list_jobs', token)).meta).toMatchObject({ jobs: [] })
  })

  it.each([
    ['', 3],
    ['-m 2', 2],
    ['-u', 2],
    ['-n bre', 1],
    ['-r -m 1', 1],
    ['-d', 3],
  ])('list_jobs %s shows %i', async (options, count) => {
    const server = await startServer()
    server.control.add({ name: 'Breast' })
    server.control.add()
    server.control.add({ submitter_name: 'other@example.org' })
    const { person, token } = await logIn(server)
    const { meta } = await person.command(`list_jobs ${options}`, token)
    expect((meta as { jobs: unknown[] }).jobs).toHaveLength(count)
  })

  it('finds the job of a submit token, and says that it was deleted', async () => {
    const server = await startServer()
    server.control.add()
    const { person, token } = await logIn(server)
    const unknown = await person.command('list_jobs --submit-token t1', token)
    expect(unknown.meta).toMatchObject({ status: 'ok', jobs: [] })
    expect((await person.command('list_jobs --submit-token gone', token)).meta).toMatchObject({
      status: 'submit_token_job_deleted',
      code: 'SUBMIT_TOKEN_JOB_DELETED',
      job_id: 'j',
      submit_record_state: 'job_deleted',
      deleted_time: '1970-01-01T00:00:00.000Z',
    })
    expect(status(await person.command('list_jobs --submit-token a/b', token))).toBe('syntax_error')
  })

  it('gets a syntax error for options that are none', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    for (const options of ['-x', '-m 0', '-m', 'a b'])
      expect(status(await person.command(`list_jobs ${options}`, token))).toBe('syntax_error')
  })

  it('never shows a site token', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    const { items, meta } = await person.command('check_status all', token)
    const table = items.find((item) => item.type === 'table' && item.rows[0]?.includes('TOKEN'))
    expect(table).toMatchObject({
      rows: [
        expect.anything(),
        ['site-1', 'site-1', 'site-1', 'True', '********', expect.any(String)],
      ],
    })
    expect(meta).toMatchObject({ server_status: 'started', client_status: [{ status: 'no_jobs' }] })
  })

  it("asks sites what they lend to jobs, in the person's name", async () => {
    const server = await startServer()
    const lead = await logIn(server)
    // The test policy grants leads no `operate`.
    expect(status(await lead.person.command('report_resources all', lead.token))).toBe(
      'not_authorized',
    )
    const { person, token } = await logIn(server, 'boss@example.org', 'project_admin')
    const { items } = await person.command('report_resources all', token)
    expect(items).toContainEqual({
      type: 'table',
      rows: [
        ['SITES', 'RESOURCES'],
        ['server', 'unlimited'],
        ['site-1', 'what site-1 tells boss@example.org'],
      ],
    })
    const unknown = await person.command('report_resources client site-9', token)
    expect(status(unknown)).toBe('invalid_target')
  })

  it('that only reads is recorded once a session; one that changes, always', async () => {
    const server = await startServer()
    const id = server.control.add()
    const { person, token } = await logIn(server)
    for (let i = 0; i < 3; i++) {
      await person.command(`get_job_meta ${id}`, token)
      await person.command(`clone_job ${id}`, token)
    }
    const acts = server.record.map(({ act }) => act)
    expect(acts.filter((act) => act === 'get_job_meta')).toHaveLength(1)
    expect(acts.filter((act) => act === 'clone_job')).toHaveLength(3)
  })
})

describe('an upload', () => {
  const bytes = new Uint8Array(3 * 1024 * 1024).map((_, index) => index % 251)

  it('becomes a job, and leaves no file behind', async () => {
    const server = await startServer()
    const session = await logIn(server)
    const { endResult } = await upload(session, bytes)
    expect(JSON.parse(String(endResult))).toMatchObject({
      data: [
        { type: 'string', data: expect.stringMatching(/^Submitted job: /) },
        { type: 'success', data: '' },
      ],
      meta: { status: 'ok', info: '', job_id: expect.any(String) },
    })
    expect(server.control.submissions).toMatchObject([
      { folderName: 'folder', study: 'default', submitter: { name: LEAD, role: 'lead' } },
    ])
    expect(await readdir(server.uploadFolder)).toEqual([])
  })

  it.each<[string, Parameters<typeof upload>[2], string]>([
    ['is longer than the server takes', {}, 'invalid_job_def'],
    ['belongs to a command that takes none', { command: 'list_jobs' }, 'syntax_error'],
    ['does not say its length', { claimed: 0 }, 'syntax_error'],
  ])('is refused before its bytes are taken when it %s', async (_, options, expected) => {
    const server = await startServer({ maxUploadBytes: 1024 * 1024 })
    const session = await logIn(server)
    // The sender checks its own claim; a hostile one would not, and the first piece is all it needs.
    const first = options?.claimed === 0 ? new Uint8Array(0) : bytes
    const { endResult, sentBytes } = await upload(session, first, { ...options, pieceBytes: 1000 })
    expect(JSON.parse(String(endResult)).meta.status).toBe(expected)
    expect(sentBytes).toBeLessThanOrEqual(1000)
    expect(await readdir(server.uploadFolder)).toEqual([])
  })

  it('is refused before its bytes are taken without a session or the right', async () => {
    const server = await startServer()
    const lead = await logIn(server)
    const member = await logIn(server, 'member@example.org', 'member')
    const attempts = [
      [{ person: lead.person, token: undefined }, 'not_authenticated'],
      [{ person: member.person, token: lead.token }, 'not_authenticated'],
      [member, 'not_authorized'],
    ] as const
    for (const [session, expected] of attempts) {
      const { endResult, sentBytes } = await upload(session, bytes, { pieceBytes: 1000 })
      expect(JSON.parse(String(endResult)).meta.status).toBe(expected)
      expect(sentBytes).toBe(1000)
    }
    expect(server.control.submissions).toEqual([])
  })

  it('tells every problem of the job', async () => {
    const server = await startServer()
    server.control.problems = ['no meta.json', 'no app']
    const { endResult } = await upload(await logIn(server), bytes)
    expect(JSON.parse(String(endResult)).meta).toEqual({
      status: 'invalid_job_def',
      info: 'no meta.json; no app',
    })
    expect(server.record.at(-1)).toMatchObject({ act: 'submit_job', code: 'invalid_job_def' })
  })

  it('keeps faults of the server to its own log', async () => {
    const server = await startServer()
    server.control.fault = new Error('cannot write /secret/path')
    const { endResult } = await upload(await logIn(server), bytes)
    expect(String(endResult)).not.toContain('secret')
    expect(JSON.parse(String(endResult)).meta.status).toBe('internal_error')
    expect(await readdir(server.uploadFolder)).toEqual([])
  })
})

describe('a download', () => {
  const file = (name: string, bytes: Uint8Array) => ({
    name,
    source: {
      size: bytes.length,
      read: async (offset: number, length: number) => bytes.slice(offset, offset + length),
    },
  })
  const pull = (person: RawPerson, refId: string) =>
    person.cell.downloads.pull('server', refId, { kind: 'bytes' }, { piece() {} })

  it('is for the cell that asked, and ends with its session', async () => {
    const server = await startServer()
    const id = server.control.add({ status: 'FINISHED:COMPLETED' })
    server.control.files.set(id, [
      file('meta.json', new Uint8Array(10)),
      file('job.zip', new Uint8Array(20)),
    ])
    const one = await logIn(server)
    const two = await logIn(server)
    const { meta } = await one.person.command(`download_job ${id}`, one.token)
    const { files } = meta as unknown as { files: [string, string][] }
    expect(files).toEqual([
      ['meta.json', expect.stringMatching(/^R[0-9a-f-]{36}$/)],
      ['job.zip', expect.stringMatching(/^R/)],
    ])
    const [[, first], [, second]] = files as [[string, string], [string, string]]
    await expect(pull(two.person, first)).rejects.toThrow()
    expect(await pull(one.person, first)).toMatchObject({ bytes: 10 })
    await one.person.command('_logout', one.token)
    await expect(pull(one.person, second)).rejects.toThrow()
  })

  it('waits for the end of the job, and for the right', async () => {
    const server = await startServer()
    const running = server.control.add({ status: 'RUNNING' })
    const foreign = server.control.add({
      status: 'FINISHED:COMPLETED',
      submitter_name: 'other@example.org',
    })
    const { person, token } = await logIn(server)
    expect(status(await person.command(`download_job ${running}`, token))).toBe('job_running')
    expect(status(await person.command(`download_job ${foreign}`, token))).toBe('not_authorized')
  })
})

describe('commands about the places of a league', () => {
  async function boss() {
    const server = await startServer()
    const { person, token } = await logIn(server, 'boss@example.org', 'project_admin')
    return { server, say: (text: string) => person.command(text, token) }
  }

  it('keep a site out and let it in again, one at a time, on record by name', async () => {
    const { server, say } = await boss()
    const out = await say('disable_client site-1')
    expect(lastItem(out)).toEqual([
      'dict',
      {
        clients: [
          {
            client_name: 'site-1',
            state: 'disabled',
            already_disabled: false,
            active_session_removed: true,
            credential_revoked: false,
            rejoin_allowed: false,
          },
        ],
      },
    ])
    expect(server.record.at(-1)).toMatchObject({ act: 'disable_client', target: 'site-1' })
    expect(lastItem(await say('enable_client site-1'))).toEqual([
      'dict',
      { clients: [expect.objectContaining({ state: 'enabled', was_disabled: true })] },
    ])
    for (const text of ['disable_client', 'disable_client a b', 'enable_client ../x'])
      expect(status(await say(text))).toBe('syntax_error')
  })

  it('do not stop or restart anything while a job runs', async () => {
    const { server, say } = await boss()
    server.control.add({ status: 'RUNNING' })
    for (const text of ['shutdown all', 'restart server', 'shutdown client site-1'])
      expect(status(await say(text))).toBe('job_running')
    expect(server.control.ends).toEqual([])
    expect(server.control.asked).toEqual([])
  })

  it('stop sites first, then the server; not the server while sites are there', async () => {
    const { server, say } = await boss()
    expect(status(await say('shutdown server'))).toBe('clients_running')
    server.control.unwilling.add('site-1')
    const refused = await say('shutdown all')
    expect(status(refused)).toBe('error')
    expect(lastItem(refused)).toEqual(['error', expect.stringContaining('site-1: not you')])
    expect(server.control.ends).toEqual([])
    server.control.unwilling.clear()
    const done = await say('shutdown all')
    expect(status(done)).toBe('ok')
    expect(lastItem(done)).toEqual(['shutdown', 'Goodbye!'])
    expect(server.control.ends).toEqual(['stop'])
    expect(server.control.asked.at(-1)).toBe('site-1 train.shutdown boss@example.org')
  })

  it('restart the server alone, or all', async () => {
    const { server, say } = await boss()
    expect((await say('restart server')).meta).toMatchObject({ status: 'ok', server_status: 'ok' })
    expect(server.control.asked).toEqual([])
    expect((await say('restart all')).meta).toMatchObject({
      client_status: { 'site-1': expect.any(String) },
    })
    expect(server.control.ends).toEqual(['restart', 'restart'])
  })

  it('set levels of logs in the words of stock, and say which words mean nothing', async () => {
    const { server, say } = await boss()
    expect(status(await say('configure_site_log server WARNING'))).toBe('ok')
    expect(status(await say('configure_site_log server reload'))).toBe('ok')
    expect(status(await say('configure_site_log server concise'))).toBe('syntax_error')
    // As `nvflare system log-config --site site-1` says it.
    expect(status(await say('configure_site_log site-1 concise'))).toBe('ok')
    expect(server.control.levels).toEqual(['warn', undefined])
    expect(server.control.asked).toEqual(['site-1 sys.configure_site_log concise boss@example.org'])
    expect(status(await say('configure_site_log all full'))).toBe('syntax_error')
    expect(server.control.asked).toHaveLength(1)
  })

  it('show what sites say of themselves, and what cannot be read as that', async () => {
    const { server, say } = await boss()
    expect((await say('report_env')).meta).toMatchObject({
      clients: [{ site_name: 'site-1', error: 'the answer cannot be read' }],
    })
    server.control.answers.set('sys.report_env', '{"secure_mode":true}')
    expect((await say('report_env site-1')).meta).toMatchObject({
      clients: [{ site_name: 'site-1', secure_mode: true }],
    })
    server.control.answers.set('train.get_scopes', '{"scope_names":["a","b"],"default_scope":"a"}')
    expect((await say('show_scopes all')).items).toContainEqual({
      type: 'table',
      rows: [
        ['SITE', 'SCOPES', 'DEFAULT'],
        ['server', 'private, public', 'public'],
        ['site-1', 'a, b', 'a'],
      ],
    })
    expect((await say('show_scopes all')).meta).toMatchObject({
      scopes: [
        { place: 'server', scopes: ['private', 'public'], default: 'public' },
        { place: 'site-1', scopes: ['a', 'b'], default: 'a' },
      ],
    })
    server.control.unwilling.add('site-1')
    const refused = await say('show_scopes client site-1')
    expect(refused.items[0]).toMatchObject({ rows: [expect.anything(), ['site-1', '', 'not you']] })
    expect(refused.meta).toMatchObject({ scopes: [{ place: 'site-1', error: 'not you' }] })
  })

  it('that Hanse does not have say so, and what to do instead', async () => {
    const { say } = await boss()
    for (const text of ['ls server', 'cat server x', 'remove_client site-1', 'sys_info server']) {
      const reply = await say(text)
      expect(status(reply)).toBe('error')
      expect(lastItem(reply)).toEqual(['error', expect.stringMatching(/Hanse/)])
    }
  })

  it('about studies say that there are none, in the form that stock reads', async () => {
    const { say } = await boss()
    expect(lastItem(await say('list_studies'))).toMatchObject(['dict', { studies: [] }])
    const refused = await say('register_study heart --sites site-1')
    expect(status(refused)).toBe('ok')
    expect(lastItem(refused)).toMatchObject([
      'dict',
      { error_code: 'STUDIES_NOT_SUPPORTED', message: 'a Hanse server has no studies' },
    ])
  })

  it('are for those to whom the policy grants them', async () => {
    const server = await startServer()
    const { person, token } = await logIn(server)
    for (const text of [
      'shutdown all',
      'restart all',
      'disable_client site-1',
      'enable_client site-1',
      'configure_site_log server DEBUG',
      'report_env',
    ])
      expect(status(await person.command(text, token))).toBe('not_authorized')
    expect(server.control.ends).toEqual([])
    expect(server.control.disabled.size).toBe(0)
  })
})

describe('commands about a running job', () => {
  it('collect what the server and the sites in it say', async () => {
    const server = await startServer()
    server.control.present = ['site-1', 'site-2']
    server.control.answers.set('info.show_stats', '{"ClientRunner":{"current_task_name":"train"}}')
    const id = server.control.add({ status: 'RUNNING' })
    const { person, token } = await logIn(server)
    expect(lastItem(await person.command(`show_stats ${id} all`, token))).toEqual([
      'dict',
      {
        server: { ServerRunner: { job_id: id, status: 'started' } },
        // The other site is not in the job.
        'site-1': { ClientRunner: { current_task_name: 'train' } },
      },
    ])
    expect(lastItem(await person.command(`show_errors ${id} server`, token))).toEqual([
      'dict',
      {
        server: {
          ServerRunner: {
            error: ['2026-12-01T00:00:01.000Z broken'],
            warning: ['2026-12-01T00:00:00.000Z slow'],
          },
        },
      },
    ])
    expect(lastItem(await person.command(`show_errors ${id} client site-1`, token))).toEqual([
      'dict',
      { 'site-1': 'invalid_reply' },
    ])
    expect(lastItem(await person.command(`reset_errors ${id} server`, token))).toEqual([
      'dict',
      { server: { status: 'OK' } },
    ])
    expect(server.control.resets).toEqual([id])
    expect(status(await person.command(`configure_job_log ${id} server DEBUG`, token))).toBe('ok')
    expect(server.control.levels).toEqual([`${id} debug`])
  })

  it('say of one that does not run that it does not', async () => {
    const server = await startServer()
    const id = server.control.add()
    const { person, token } = await logIn(server)
    for (const command of ['show_stats', 'show_errors', 'reset_errors'])
      expect(status(await person.command(`${command} ${id} all`, token))).toBe('job_not_running')
    expect(status(await person.command(`configure_job_log ${id} server INFO`, token))).toBe(
      'job_not_running',
    )
  })

  it('change the log of own jobs only', async () => {
    const server = await startServer()
    const id = server.control.add({ status: 'RUNNING', submitter_name: 'other@example.org' })
    const { person, token } = await logIn(server)
    expect(status(await person.command(`configure_job_log ${id} server DEBUG`, token))).toBe(
      'not_authorized',
    )
  })
})
