import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League } from '../support/league.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { foundAuthority, type ProxyAuthority } from './support/proxy-authority.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

const PAGE = 'idle-time-outs'
/** The pages' time-outs are 3 s. */
const THINKING_MS = 7_000

let folder: string
let authority: ProxyAuthority
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-idle-'))
  authority = await foundAuthority(['localhost'])
  await authority.writeTo(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

interface Here {
  readonly outer: number
  readonly inner: number
}

const WAYS = {
  'nginx-tcp': {
    kind: 'nginx',
    proxy: ({ outer }: Here) => ({ 'listen 443': `listen 127.0.0.1:${outer}` }),
    project: ({ outer, inner }: Here) =>
      configuration('pass-through', 'project', {
        'league.example.org': 'localhost',
        // Here both sites go through the proxy.
        'connect_to: 10.0.0.5': `connect_to: { port: ${outer} }`,
        '10.0.0.5': '127.0.0.1',
        '8002': inner,
        '443': outer,
        'scheme: http': 'scheme: tcp',
      }),
  },
  'nginx-grpc': {
    kind: 'nginx',
    proxy: ({ outer }: Here) => ({
      'listen 443': `listen 127.0.0.1:${outer}`,
      'league.example.org': 'localhost',
      '/etc/ssl': folder,
    }),
    project: (here: Here) => tlsProject(here, 'grpc'),
  },
  'haproxy-http': {
    kind: 'haproxy',
    proxy: ({ outer }: Here) => ({
      'bind :443': `bind 127.0.0.1:${outer}`,
      '/etc/ssl': folder,
    }),
    project: (here: Here) => tlsProject(here, 'http'),
  },
} as const

function tlsProject({ outer, inner }: Here, scheme: string): Promise<string> {
  return configuration('tls-at-the-proxy', 'project', {
    'league.example.org': 'localhost',
    '8002': inner,
    '443': outer,
    'scheme: http': `scheme: ${scheme}`,
  })
}

describe('a round that is longer than a proxy lets a connection be silent', () => {
  // Mostly waiting, so that they wait together.
  for (const [name, { kind, proxy, project }] of Object.entries(WAYS))
    it.skipIf(!isInstalled(kind)).concurrent(
      `keeps its connection by a short heartbeat; one without comes back, and counts the same (${name})`,
      async () => {
        const here = { outer: await freePort(), inner: await freePort() }
        await using _proxy = await RealProxy.start({
          kind,
          configuration: await configuration(PAGE, name, {
            ...proxy(here),
            '10.0.0.5:8002': `127.0.0.1:${here.inner}`,
          }),
          ports: [here.outer],
        })
        const settings = await configuration(PAGE, 'hanse.json', {})
        await using league = await League.start({
          project: await project(here),
          projectFiles: { 'proxy-root.pem': authority.root },
          prepare: (made) => writeFile(join(made.kit('site-1'), 'local', 'hanse.json'), settings),
        })
        const work = { count: 1_000, rounds: 1, thinkingMs: THINKING_MS }
        await expectMeans(league, await submitMeanJob(league, work), work)
        const events = (site: string) => league.place(site).events.map(({ event }) => event)
        expect(events('site-1')).not.toContain('lost')
        expect(events('site-2')).toContain('lost')
      },
      120_000,
    )
})
