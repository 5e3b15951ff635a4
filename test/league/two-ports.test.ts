import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League } from '../support/league.ts'

/** Dials the sites' port all the same. */
const ASTRAY = 'astray@example.org'

let league: League
let ports: { readonly sites: number; readonly people: number }
beforeAll(async () => {
  ports = { sites: await freePort(), people: await freePort() }
  league = await League.start({
    sites: ['site-1'],
    server: 'hub',
    project: `api_version: 3
name: two_ports
description: people come in by a port of their own
participants:
  - name: hub
    type: server
    org: league
    default_host: localhost
    fed_learn_port: ${ports.sites}
    admin_port: ${ports.people}
  - { name: site-1, type: client, org: league }
  - { name: ${LEAD}, type: admin, org: league, role: lead }
  - { name: ${ASTRAY}, type: admin, org: league, role: lead, connect_to: { port: ${ports.sites} } }
`,
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

describe('a league whose project file gives people a port of their own', () => {
  it('runs jobs that are sent there', async () => {
    const trainer = trainerOf(
      `await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } } })`,
    )
    const job = await league.submit(
      await writeJob(league.folder, { rounds: 1, minClients: 1, trainer }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
  }, 60_000)

  it('lets nobody in as a person at the port of the sites, and says so', async () => {
    const { code, json } = await league.hanse('status', '--as', league.kit(ASTRAY))
    expect(code).not.toBe(0)
    expect(json?.['error']).toMatchObject({
      code: 'ERR_LOGIN_REFUSED',
      message: expect.stringContaining('admin cells are not accepted on this listener'),
    })
    const record = await league.record('hub')
    expect(record).toContainEqual(
      expect.objectContaining({ outcome: 'refused', code: 'admin-not-allowed' }),
    )
  })

  it('says in its record where it serves whom', async () => {
    const record = await league.record('hub')
    expect(record).toContainEqual(
      expect.objectContaining({
        act: 'server.start',
        text: expect.stringContaining(`people at port ${ports.people}`),
      }),
    )
  })
})
