import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type ConnectionOptions, connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League, SERVER } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { foundAuthority } from './support/proxy-authority.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

const PAGE = 'different-modes'
const SITES = ['site-1', 'site-2', 'site-3']

describe.skipIf(!isInstalled('nginx'))('a league with a mode for each participant', () => {
  let folder: string
  let proxy: RealProxy
  let league: League
  let ports: { readonly server: number; readonly tls: number; readonly mutual: number }
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hanse-modes-'))
    ports = { server: await freePort(), tls: await freePort(), mutual: await freePort() }
    const authority = await foundAuthority(['localhost'])
    await authority.writeTo(folder)
    league = await League.provision({
      sites: SITES,
      project: await configuration(PAGE, 'project', {
        'league.example.org': 'localhost',
        '10.0.0.5': '127.0.0.1',
        '8002': ports.server,
        '443': ports.tls,
        '8443': ports.mutual,
      }),
      projectFiles: { 'proxy-root.pem': authority.root },
    })
    proxy = await RealProxy.start({
      kind: 'nginx',
      configuration: await configuration(PAGE, 'nginx', {
        'listen 443': `listen 127.0.0.1:${ports.tls}`,
        'listen 8443': `listen 127.0.0.1:${ports.mutual}`,
        '10.0.0.5:8002': `127.0.0.1:${ports.server}`,
        '/etc/ssl': folder,
        '/etc/hanse': dirname(league.kit(SERVER)),
      }),
      ports: [ports.tls, ports.mutual],
    })
    for (const place of [SERVER, ...SITES]) await league.startPlace(place)
  }, 90_000)
  afterAll(async () => {
    await league?.[Symbol.asyncDispose]()
    await proxy?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it('runs a job of all of them at once', async () => {
    await expectMeans(league, await submitMeanJob(league))
    for (const site of SITES)
      expect(await connectionOf(league, site)).toMatchObject({ mode: 'clear', peer: null })
  }, 60_000)

  it('lets nobody without a certificate of the league in where it is wanted', async () => {
    const stranger = await foundAuthority(['localhost'])
    await stranger.writeTo(folder)
    const read = (...path: readonly string[]) => readFile(join(...path), 'utf8')
    const startup = join(league.kit('site-2'), 'startup')
    const member = {
      cert: await read(startup, 'client.crt'),
      key: await read(startup, 'client.key'),
    }
    const other = { cert: await read(folder, 'league.crt'), key: await read(folder, 'league.key') }
    expect(await isCut(ports.mutual, {})).toBe(true)
    expect(await isCut(ports.mutual, other)).toBe(true)
    expect(await isCut(ports.mutual, member)).toBe(false)
  })
})

/** Whether who listens hangs up before we have said anything. */
async function isCut(port: number, identity: ConnectionOptions): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...identity })
  const cut = Promise.withResolvers<boolean>()
  socket.on('error', () => cut.resolve(true))
  socket.on('close', () => cut.resolve(true))
  socket.resume()
  // It says nothing to those it takes, so that only time tells.
  const taken = setTimeout(() => cut.resolve(false), 1_000)
  try {
    return await cut.promise
  } finally {
    clearTimeout(taken)
    socket.destroy()
  }
}
