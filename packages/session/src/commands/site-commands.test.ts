import type { Cell } from '@hanse/cellnet'
import { type LogFields, PlatformError, silentLogger } from '@hanse/contract'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LinkedCells } from '../../test/linked-cells.ts'
import { AdminMessage } from '../messages/admin-message.ts'
import { submitterOf } from './acting-person.ts'
import {
  COMMAND_HEADER,
  commandSite,
  commandText,
  personHeaders,
  type SiteCommandHandler,
  serveCommands,
} from './site-commands.ts'

class Refused extends PlatformError<'ERR_REFUSED'> {}

let cells: LinkedCells
let site: Cell
const logged: LogFields[] = []
beforeEach(async () => {
  cells = await LinkedCells.open()
  site = await cells.linked('site-1')
  logged.length = 0
})
afterEach(() => cells[Symbol.asyncDispose]())

function serve(handler: SiteCommandHandler, authorize = () => {}): void {
  const logger = { ...silentLogger, error: (_text: string, fields = {}) => logged.push(fields) }
  serveCommands({ cell: site, logger }, new Map([['train.test', handler]]), authorize)
}

const command = (topic = 'train.test', body: string | Uint8Array = 'body') =>
  commandSite(
    cells.server,
    'site-1',
    { topic, headers: new Map([['job_id', 'j1']]), body },
    { timeoutMs: 1_000 },
  )

describe('a command', () => {
  it('reaches its handler by the topic of the message, and brings the answer back', async () => {
    serve(({ topic, headers, body }) => `${topic} ${String(headers.get('job_id'))} ${String(body)}`)
    expect(await command()).toEqual({ ok: true, body: 'train.test j1 body' })
  })

  it('is refused with the words that were meant for its sender', async () => {
    serve(() => {
      throw new Refused('ERR_REFUSED', 'not today')
    })
    expect(await command()).toEqual({ ok: false, reason: 'not today' })
    expect(logged).toEqual([])
  })

  it('that fails tells nothing of the inside, which the log has', async () => {
    serve(() => {
      throw new Error("ENOENT: no such file, open '/home/anna/secret'")
    })
    const answer = await command()
    expect(answer).toMatchObject({ ok: false })
    expect(JSON.stringify(answer)).not.toContain('anna')
    expect(String(logged[0]?.['error'])).toContain('anna')
  })

  it('is asked about before anything is done', async () => {
    let done = false
    serve(
      () => {
        done = true
        return ''
      },
      () => {
        throw new Refused('ERR_REFUSED', 'who are you?')
      },
    )
    expect(await command()).toEqual({ ok: false, reason: 'who are you?' })
    expect(done).toBe(false)
  })

  it('is answered without a code when it succeeds: a stock server takes any for an error', async () => {
    serve(() => '')
    const message = new AdminMessage('train.test', '')
    const { body } = await cells.server.request('site-1', 'admin', 'admin', message)
    expect((body as AdminMessage).headers.has(COMMAND_HEADER.returnCode)).toBe(false)
  })

  it('that nobody knows is refused', async () => {
    serve(() => '')
    expect(await command('train.other')).toMatchObject({
      ok: false,
      reason: expect.stringContaining('train.other'),
    })
    expect(await cells.server.request('site-1', 'admin', 'train.test', 'text')).toMatchObject({
      returnCode: 'invalid_request',
    })
  })

  it.each([
    ["stock's way to say no under an ok code", 'NVFLARE_ERROR: no', undefined],
    ['an error code', 'no', '_error'],
  ])('fails by %s', async (_what, text, code) => {
    site.handle('admin', '*', () => ({
      body: new AdminMessage(
        'reply',
        text,
        new Map(code === undefined ? [] : [[COMMAND_HEADER.returnCode, code]]),
      ),
    }))
    expect(await command()).toEqual({ ok: false, reason: text })
  })

  it('succeeds without a code, as stock answers; another body than text comes as it is', async () => {
    site.handle('admin', '*', () => ({ body: new AdminMessage('reply', [1]) }))
    expect(await command()).toEqual({ ok: true, body: [1] })
  })

  it('says which command was not answered, and by what', async () => {
    site.handle('admin', '*', () => ({ body: 'text' }))
    expect(await command()).toMatchObject({ reason: expect.stringMatching(/train.test is no/) })
    expect(
      await commandSite(
        cells.server,
        'site-2',
        { topic: 'train.test', headers: new Map(), body: '' },
        { timeoutMs: 1_000 },
      ),
    ).toMatchObject({ ok: false, reason: expect.stringMatching(/no answer to train.test/) })
  })
})

describe('persons', () => {
  it('travel as six texts, and are read from a job', () => {
    const person = { name: 'a', organization: 'b', role: 'c' }
    const headers = new Map(personHeaders(person, person))
    expect([...headers.values()]).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
    const meta = { submitter_name: 'a', submitter_org: 'b', submitter_role: 'c' }
    expect(submitterOf(meta)).toEqual(person)
    expect(submitterOf({ submitter_name: 3 })).toEqual({ name: '', organization: '', role: '' })
  })

  it('are texts or nothing', () => {
    const given = { topic: '', body: null, headers: new Map([['_userName', 7]]) }
    expect(commandText(given, '_userName')).toBe('')
  })
})
