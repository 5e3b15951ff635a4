import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { LEAD, League } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

const PAGE = 'outbound-proxy'
const PASSWORD = 's3cret'

/** The proxy of the page, here. */
async function startProxy(port: number, allowed: number, login = 'site-1 s3cret') {
  return await RealProxy.start({
    kind: 'tinyproxy',
    configuration: await configuration(PAGE, 'tinyproxy', {
      'Port 3128': `Port ${port}`,
      '10.1.0.1': '127.0.0.1',
      '10.1.0.0/16': '127.0.0.0/8',
      'site-1 s3cret': login,
      'ConnectPort 8002': `ConnectPort ${allowed}`,
    }),
    ports: [port],
  })
}

/** The setting of the page, for the proxy here, in the kits that are named. */
function goingThrough(port: number, ...names: readonly string[]) {
  return async (league: League) => {
    const text = await configuration(PAGE, 'hanse.json', {
      'proxy.example.org:3128': `127.0.0.1:${port}`,
    })
    for (const name of names)
      await writeFile(join(league.kit(name), 'local', 'hanse.json'), text, { mode: 0o600 })
  }
}

/** What a kit's place has written: its logs, its record, its jobs. */
async function writtenBy(kit: string): Promise<string> {
  const state = join(kit, 'state')
  const files = await readdir(state, { recursive: true, withFileTypes: true })
  const texts = files
    .filter((file) => file.isFile())
    .map((file) => readFile(join(file.parentPath, file.name), 'latin1'))
  return (await Promise.all(texts)).join('\n')
}

describe.skipIf(!isInstalled('tinyproxy'))('tinyproxy on the way out', () => {
  describe.each([
    ['http', 'mtls'],
    ['grpc', 'tls'],
    ['tcp', 'clear'],
  ] as const)('over %s, %s', (scheme, security) => {
    let proxy: RealProxy
    let league: League
    beforeAll(async () => {
      const [port, server] = [await freePort(), await freePort()]
      proxy = await startProxy(port, server)
      league = await League.start({
        scheme,
        security,
        port: server,
        prepare: goingThrough(port, 'site-1', LEAD),
      })
    }, 60_000)
    afterAll(async () => {
      await league?.[Symbol.asyncDispose]()
      await proxy?.[Symbol.asyncDispose]()
    })

    it('carries a site, and a person whose commands they are', async () => {
      const before = proxy.output.length
      await expectMeans(league, await submitMeanJob(league))
      expect(await connectionOf(league, 'site-1')).toMatchObject({ mode: security, driver: scheme })
      expect(proxy.output.slice(0, before)).toContain(`CONNECT localhost:${league.port}`)
      expect(proxy.output.slice(before)).toContain(`CONNECT localhost:${league.port}`)
    }, 60_000)

    it('is the way that hanse doctor looks at', async () => {
      const before = proxy.output.length
      for (const name of ['site-1', LEAD]) {
        const { json } = await league.hanse('doctor', league.kit(name))
        expect(json).toMatchObject({ ok: true, faults: [], warnings: [] })
      }
      expect(proxy.output.slice(before)).toContain(`CONNECT localhost:${league.port}`)
    })

    it('gives the password away nowhere', async () => {
      const { stderr, events } = league.place('site-1')
      const said = [stderr, JSON.stringify(events), await writtenBy(league.kit('site-1'))].join(
        '\n',
      )
      expect(said).toContain('connected')
      expect(said).not.toContain(PASSWORD)
      expect(said).not.toContain(btoa(`site-1:${PASSWORD}`))
    })
  })

  it.each([
    ['does not allow the server', /does not allow that address \(403\)/, { allowed: 1 }],
    [
      'does not know the login',
      /does not accept our user and password \(401\)/,
      { login: 'site-1 other' },
    ],
    ['is not there', /through 127\.0\.0\.1:\d+: nothing listens there/, { isAway: true }],
  ])(
    'that %s is named, with what it says',
    async (_what, reason, how) => {
      const { allowed, login, isAway } = {
        allowed: undefined,
        login: undefined,
        isAway: false,
        ...how,
      }
      const [port, server] = [await freePort(), await freePort()]
      await using proxy = await startProxy(port, allowed ?? server, login)
      if (isAway) await proxy.kill()
      await using league = await League.provision({
        port: server,
        prepare: goingThrough(port, 'site-1', LEAD),
      })
      const site = league.launch('site-1')
      const waiting = await site.event('waiting')
      expect(waiting['reason']).toMatch(reason)
      const person = await league.asLead('status')
      expect(person.json?.['error']).toMatchObject({
        code: 'ERR_SERVER_UNREACHABLE',
        message: expect.stringMatching(reason),
      })
      const doctor = await league.hanse('doctor', league.kit('site-1'))
      expect(doctor.json).toMatchObject({
        faults: [{ code: isAway ? 'nothing-listens' : 'proxy-refused' }],
      })
      await site.stop()
      const said = [site.stderr, JSON.stringify(site.events), person.stdout, doctor.stdout].join(
        '\n',
      )
      expect(said + (await writtenBy(league.kit('site-1')))).not.toContain(PASSWORD)
    },
    60_000,
  )
})
