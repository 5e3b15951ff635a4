import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League, SERVER } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { foundAuthority, type ProxyAuthority } from './support/proxy-authority.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

const PAGE = 'tls-at-the-proxy'
let folder: string
let authority: ProxyAuthority
let other: ProxyAuthority
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-proxy-tls-'))
  ;[authority, other] = await Promise.all([
    foundAuthority(['localhost']),
    foundAuthority(['localhost']),
  ])
  await authority.writeTo(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** What each configuration names beside the addresses. */
const NAMES = {
  'nginx-http': ['listen 443', 'league.example.org', '/etc/ssl'],
  'nginx-grpc': ['listen 443', 'league.example.org', '/etc/ssl'],
  'nginx-tcp': ['listen 443', '/etc/ssl'],
  'haproxy-http': ['bind :443', '/etc/ssl'],
  'haproxy-grpc': ['bind :443', '/etc/ssl'],
  'haproxy-tcp': ['bind :443', '/etc/ssl'],
} as const

describe.each([
  ['nginx', 'http'],
  ['nginx', 'grpc'],
  ['nginx', 'tcp'],
  ['haproxy', 'http'],
  ['haproxy', 'grpc'],
  ['haproxy', 'tcp'],
] as const)('TLS ends at %s, and the server is clear, over %s', (kind, scheme) => {
  describe.skipIf(!isInstalled(kind))('with an authority of the proxy', () => {
    let proxy: RealProxy
    let league: League
    beforeAll(async () => {
      const [outer, inner] = [await freePort(), await freePort()]
      const values: Record<string, string> = {
        'listen 443': `listen 127.0.0.1:${outer}`,
        'bind :443': `bind 127.0.0.1:${outer}`,
        'league.example.org': 'localhost',
        '/etc/ssl': folder,
      }
      const name = `${kind}-${scheme}` as const
      proxy = await RealProxy.start({
        kind,
        configuration: await configuration(PAGE, name, {
          ...Object.fromEntries(NAMES[name].map((key) => [key, values[key] ?? ''])),
          '10.0.0.5:8002': `127.0.0.1:${inner}`,
        }),
        ports: [outer],
      })
      league = await League.start({
        project: await configuration(PAGE, 'project', {
          'league.example.org': 'localhost',
          '8002': inner,
          '443': outer,
          'scheme: http': `scheme: ${scheme}`,
        }),
        projectFiles: { 'proxy-root.pem': authority.root },
      })
    }, 60_000)
    afterAll(async () => {
      await league?.[Symbol.asyncDispose]()
      await proxy?.[Symbol.asyncDispose]()
    })

    it('runs a job', async () => {
      await expectMeans(league, await submitMeanJob(league))
      expect(await connectionOf(league, 'site-1')).toMatchObject({
        peer: null,
        mode: 'clear',
        driver: scheme,
      })
    }, 60_000)

    it('hanse doctor finds nothing wrong for a site and a person', async () => {
      const names = ['site-1', 'lead@example.org']
      const results = await Promise.all(
        names.map((name) => league.hanse('doctor', league.kit(name))),
      )
      for (const { json } of results) expect(json).toMatchObject({ ok: true, faults: [] })
    })

    it('says which answer of the proxy stands for a server that is away', async () => {
      await league.place(SERVER).stop()
      const { json } = await league.hanse('doctor', league.kit('site-1'))
      if (scheme === 'tcp') {
        expect(json).toMatchObject({ faults: [{ code: 'other-protocol' }] })
        return
      }
      const seen = expect.stringMatching(/50[23]/)
      expect(json).toMatchObject({ faults: [{ code: 'http-answer', seen }] })
      const place = league.place('site-1')
      await place.event(({ event, reason }) => event === 'waiting' && /50[23]/.test(String(reason)))
    })
  })
})

describe.skipIf(!isInstalled('nginx'))('a proxy whose authority nobody told us', () => {
  it("is not trusted: neither by the league's root nor by another", async () => {
    const [outer, inner] = [await freePort(), await freePort()]
    await using _proxy = await RealProxy.start({
      kind: 'nginx',
      configuration: await configuration(PAGE, 'nginx-tcp', {
        'listen 443': `listen 127.0.0.1:${outer}`,
        '/etc/ssl': folder,
        '10.0.0.5:8002': `127.0.0.1:${inner}`,
      }),
      ports: [outer],
    })
    const here = {
      'league.example.org': 'localhost',
      '8002': inner,
      '443': outer,
      'scheme: http': 'scheme: tcp',
    }
    const leagueRoot = (await configuration(PAGE, 'project', here)).replace(
      /^custom_ca_cert.*\n/m,
      '',
    )
    for (const options of [
      { project: leagueRoot },
      {
        project: await configuration(PAGE, 'project', here),
        projectFiles: { 'proxy-root.pem': other.root },
      },
    ]) {
      await using league = await League.provision(options)
      const site = league.launch('site-1')
      expect(await site.exited).toMatchObject({ code: 3 })
      expect(site.stderr).toMatch(/another root/)
      const { json } = await league.hanse('status', '--as', league.kit('lead@example.org'))
      expect(json?.['error']).toMatchObject({ code: 'ERR_SERVER_IDENTITY' })
      const doctor = await league.hanse('doctor', league.kit('site-1'))
      expect(doctor.json).toMatchObject({
        faults: [{ code: 'wrong-ca', seen: expect.stringContaining('Proxy Owner Root') }],
      })
    }
  }, 60_000)
})
