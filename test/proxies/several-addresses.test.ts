import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League } from '../support/league.ts'
import { configuration } from './support/page.ts'
import { foundAuthority } from './support/proxy-authority.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

const PAGE = 'several-addresses'
const ADMIN = 'admin@nvidia.com'
/** Of this machine, too, but not where names lead. */
const INNER = '127.0.0.2'

const TRAINER = trainerOf(
  `await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } } })`,
)

/** As its only person, who is the project's admin, for a league without our lead. */
async function runJob(league: League): Promise<string> {
  const minClients = league.sites.length
  const folder = await writeJob(league.folder, { rounds: 1, minClients, trainer: TRAINER })
  const as = ['--as', league.kit(ADMIN)]
  const { json, stdout } = await league.hanse('job', 'submit', folder, ...as)
  if (json?.['job'] === undefined) return stdout
  const ended = await league.hanse('job', 'wait', String(json['job']), '--timeout', '60', ...as)
  return String(ended.json?.['status'])
}

async function json(...path: readonly string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(...path), 'utf8'))
}

describe("the examples of FLARE's documentation, as it has them", () => {
  describe('sites at different addresses of one server', () => {
    let ports: { readonly sites: number; readonly people: number }
    let league: League
    beforeAll(async () => {
      ports = { sites: await freePort(), people: await freePort() }
      league = await League.start({
        server: 'server',
        sites: ['red', 'blue', 'silver'],
        project: await configuration(PAGE, 'several', {
          '8002': ports.sites,
          '8003': ports.people,
        }),
      })
    }, 60_000)
    afterAll(() => league?.[Symbol.asyncDispose]())

    it.each([
      ['red', '127.0.0.1'],
      ['blue', 'localhost'],
      ['silver', 'localhost'],
    ])('%s dials %s', async (site, host) => {
      expect(await json(league.kit(site), 'startup', 'fed_client.json')).toMatchObject({
        servers: [{ service: { target: `${host}:${ports.sites}` }, identity: 'server' }],
        client: { connection_security: 'mtls' },
      })
    })

    it('the admin dials 127.0.0.1, at the port of people', async () => {
      expect(await json(league.kit(ADMIN), 'startup', 'fed_admin.json')).toMatchObject({
        admin: { host: '127.0.0.1', port: ports.people },
      })
    })

    it('runs a job of all three', async () => {
      expect(await runJob(league)).toBe('FINISHED:COMPLETED')
    }, 60_000)
  })

  describe.skipIf(!isInstalled('nginx'))(
    'a clear server behind a proxy with its own authority',
    () => {
      let folder: string
      let proxy: RealProxy
      let league: League
      beforeAll(async () => {
        folder = await mkdtemp(join(tmpdir(), 'hanse-example-'))
        const authority = await foundAuthority(['localhost'])
        await authority.writeTo(folder)
        await writeFile(join(folder, 'root.pem'), authority.root)
        const [sites, people] = [await freePort(), await freePort()]
        proxy = await RealProxy.start({
          kind: 'nginx',
          configuration: await configuration(PAGE, 'nginx', {
            'listen 8002': `listen 127.0.0.1:${sites}`,
            'listen 8003': `listen 127.0.0.1:${people}`,
            'server_name server': 'server_name localhost',
            '10.0.0.5:8002': `${INNER}:${sites}`,
            '10.0.0.5:8003': `${INNER}:${people}`,
            '/etc/ssl': folder,
          }),
          ports: [sites, people],
        })
        const settings = JSON.stringify({ format_version: 1, listen_host: INNER })
        league = await League.start({
          // The one name that leads to the proxy on every machine.
          server: 'localhost',
          sites: ['site-1'],
          project: await configuration(PAGE, 'behind-proxy', {
            'name: server': 'name: localhost',
            '/path/of/customRoot.pem': join(folder, 'root.pem'),
            '8002': sites,
            '8003': people,
          }),
          prepare: (made) =>
            writeFile(join(made.kit('localhost'), 'local', 'hanse.json'), settings),
        })
      }, 60_000)
      afterAll(async () => {
        await league?.[Symbol.asyncDispose]()
        await proxy?.[Symbol.asyncDispose]()
        await rm(folder, { recursive: true, force: true })
      })

      it('gives each the mode that the example says, and the root of the proxy to all', async () => {
        expect(await json(league.kit('localhost'), 'startup', 'fed_server.json')).toMatchObject({
          servers: [{ connection_security: 'clear' }],
        })
        expect(await json(league.kit('site-1'), 'startup', 'fed_client.json')).toMatchObject({
          client: { connection_security: 'tls' },
        })
        const root = await readFile(join(folder, 'root.pem'), 'utf8')
        for (const name of ['site-1', ADMIN])
          expect(
            await readFile(join(league.kit(name), 'startup', 'customRootCA.pem'), 'utf8'),
          ).toBe(root)
      })

      it('runs a job', async () => {
        expect(await runJob(league)).toBe('FINISHED:COMPLETED')
      }, 60_000)
    },
  )
})
