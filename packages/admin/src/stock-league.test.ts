import type { JsonObject } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { AdminError } from './admin-error.ts'
import { type SendCommand, stockJobs, stockStatus } from './stock-league.ts'

const JOB = '6f0f2b7c-4a4e-4e5a-9a0a-0123456789ab'
const REFUSED = new AdminError('ERR_NOT_AUTHORIZED', 'not for you', 'ask')

/** A stock server, as it answered on the wire. */
function serverThatSays(
  answers: Record<string, JsonObject | { readonly dict: JsonObject } | Error>,
) {
  const asked: string[] = []
  const send: SendCommand = async (text) => {
    asked.push(text)
    const answer = answers[text]
    if (answer === undefined || answer instanceof Error) throw answer ?? REFUSED
    const dict = 'dict' in answer ? (answer['dict'] as JsonObject) : undefined
    return { texts: [], dict, token: undefined, meta: dict === undefined ? answer : {} }
  }
  return { send, asked }
}

const server = {
  status: 'ok',
  server_status: 'started',
  server_start_time: 1_700_000_000.5,
  jobs: [{ app_name: 'app', job_id: JOB }],
  clients: [{ client_name: 'site-1', client_last_conn_time: 1_700_000_001, fqcn: 'site-1' }],
}
const jobs = {
  jobs: [
    { job_id: JOB, name: '', job_folder_name: 'folder', status: 'RUNNING', submitter_name: 'lead' },
  ],
}
const league = { server: 'server1', project: 'p' }

describe('a league of a stock server', () => {
  it('is put together from what a stock server answers', async () => {
    const { send } = serverThatSays({
      'check_status server': server,
      'check_status client': {
        client_status: [{ client_name: 'site-1', job_id: JOB, status: 'started' }],
      },
      'report_version all': {
        dict: { server: { version: '2.9.0' }, 'site-1': { error: 'No replies' } },
      },
      'list_jobs -d': jobs,
    })
    expect(await stockStatus(send, league)).toEqual({
      server: {
        name: 'server1',
        project: 'p',
        software: 'FLARE 2.9.0',
        started: '2023-11-14T22:13:20.500Z',
        runningJobs: [JOB],
      },
      sites: [
        {
          name: 'site-1',
          connected: true,
          disabled: false,
          organization: '',
          software: '',
          lastHeartbeat: '2023-11-14T22:13:21.000Z',
          jobs: [JOB],
        },
      ],
      jobs: [
        {
          job: JOB,
          name: 'folder',
          status: 'RUNNING',
          submitter: 'lead',
          submitted: '',
          duration: 'N/A',
        },
      ],
    })
  })

  it('is shown without versions to whom the policy does not tell them, and without sites where there are none', async () => {
    const { send, asked } = serverThatSays({
      'check_status server': { ...server, clients: [], jobs: [] },
      'report_version all': REFUSED,
      'list_jobs -d': { jobs: [] },
    })
    expect(await stockStatus(send, league)).toMatchObject({ server: { software: '' }, sites: [] })
    expect(asked).not.toContain('check_status client')
  })

  it('is not shown when the server is away', async () => {
    const away = new AdminError('ERR_SERVER_UNREACHABLE', 'away', 'wait')
    const { send } = serverThatSays({
      'check_status server': { ...server, clients: [] },
      'report_version all': away,
      'list_jobs -d': jobs,
    })
    await expect(stockStatus(send, league)).rejects.toBe(away)
  })

  it('says which answer cannot be read', async () => {
    const { send } = serverThatSays({ 'list_jobs -d': { jobs: [{ job_id: 5 }] } })
    await expect(stockJobs(send)).rejects.toMatchObject({
      code: 'ERR_REPLY',
      message: expect.stringContaining('list_jobs -d'),
    })
  })
})
