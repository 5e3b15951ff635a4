import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { foundAuthority, type ProxyAuthority } from './support/proxy-authority.ts'
import { isInstalled, type ProxyKind, RealProxy } from './support/real-proxy.ts'

const PAGE = 'several-leagues'
/** Names that lead here, as the ingress in front of each league. */
const HERE = { heart: 'heart.localhost', lung: 'lung.localhost' }
/** Leads here, too, but to no league. */
const UNKNOWN = 'liver.localhost'
const NAMES = ['heart', 'lung'] as const

let folder: string
let authority: ProxyAuthority
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-ingress-'))
  authority = await foundAuthority([...Object.values(HERE), UNKNOWN])
  await authority.writeTo(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

interface Ports {
  readonly outer: number
  readonly heart: number
  readonly lung: number
}

async function startIngress(kind: ProxyKind, name: string, ports: Ports, files: object) {
  return await RealProxy.start({
    kind,
    configuration: await configuration(PAGE, name, {
      'heart.example.org': HERE.heart,
      'lung.example.org': HERE.lung,
      '10.0.0.5:8002': `127.0.0.1:${ports.heart}`,
      '10.0.0.6:8002': `127.0.0.1:${ports.lung}`,
      ...(kind === 'nginx'
        ? { 'listen 443': `listen 127.0.0.1:${ports.outer}` }
        : { 'bind :443': `bind 127.0.0.1:${ports.outer}` }),
      ...files,
    }),
    ports: [ports.outer],
  })
}

async function freePorts(): Promise<Ports> {
  return { outer: await freePort(), heart: await freePort(), lung: await freePort() }
}

/** Project files of both leagues whose TLS runs through. */
async function passedThrough(name: 'heart' | 'lung', { outer, ...inner }: Ports, scheme: string) {
  const text = await configuration(PAGE, 'project', {
    heart_league: `${name}_league`,
    'heart.example.org': HERE[name],
    '8002': inner[name],
    '443': outer,
    'scheme: http': `scheme: ${scheme}`,
  })
  return { project: text, sites: ['site-1'] }
}

/** Project files of both leagues whose TLS ends at the ingress. */
async function endedThere(name: 'heart' | 'lung', { outer, ...inner }: Ports, scheme: string) {
  const text = await configuration('tls-at-the-proxy', 'project', {
    example_league: `${name}_league`,
    'league.example.org': HERE[name],
    '8002': inner[name],
    '443': outer,
    'scheme: http': `scheme: ${scheme}`,
  })
  return {
    project: text,
    sites: ['site-1', 'site-2'],
    projectFiles: { 'proxy-root.pem': authority.root },
  }
}

const CASES = [
  ['nginx', 'nginx-sni', 'the name in TLS', 'http', 'mtls'],
  ['haproxy', 'haproxy-sni', 'the name in TLS', 'tcp', 'mtls'],
  ['haproxy', 'haproxy-sni', 'the name in TLS', 'grpc', 'mtls'],
  ['nginx', 'nginx-host', 'the name in the request', 'http', 'clear'],
  ['haproxy', 'haproxy-host', 'the name in the request', 'grpc', 'clear'],
] as const

describe.each(CASES)(
  'two leagues at one port of %s (%s), told apart by %s, over %s',
  (...facts) => {
    const [kind, name, , scheme, mode] = facts
    describe.skipIf(!isInstalled(kind))('each with a host name', () => {
      const isEnded = mode === 'clear'
      const makeOptions = isEnded ? endedThere : passedThrough
      let ports: Ports
      let proxy: RealProxy
      let leagues: readonly League[] = []
      beforeAll(async () => {
        ports = await freePorts()
        proxy = await startIngress(kind, name, ports, isEnded ? { '/etc/ssl': folder } : {})
        leagues = await Promise.all(
          NAMES.map(async (league) => League.start(await makeOptions(league, ports, scheme))),
        )
      }, 90_000)
      afterAll(async () => {
        await Promise.all(leagues.map((league) => league[Symbol.asyncDispose]()))
        await proxy?.[Symbol.asyncDispose]()
      })

      it('runs a job in each at the same time', async () => {
        const work = { count: 100_000 }
        await Promise.all(
          leagues.map(async (league) => {
            await expectMeans(league, await submitMeanJob(league, work), work)
            const row = await connectionOf(league, 'site-1')
            expect(row).toMatchObject({ mode, driver: scheme })
          }),
        )
      }, 90_000)

      it('refuses a name that it does not know, and the doctor says so', async () => {
        const { project, ...rest } = await makeOptions('heart', ports, scheme)
        const text = project.replaceAll(HERE.heart, UNKNOWN)
        await using league = await League.provision({ ...rest, project: text })
        const { json } = await league.hanse('doctor', league.kit('site-1'))
        expect(json).toMatchObject({
          ok: false,
          faults: [
            isEnded
              ? { code: 'http-answer', seen: expect.stringMatching(/421|503/) }
              : { code: 'clear-port', fix: expect.stringContaining(`may not know ${UNKNOWN}`) },
          ],
        })
      }, 60_000)
    })
  },
)
