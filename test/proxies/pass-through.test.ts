import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

describe.each([
  ['nginx', 'listen 443', 'listen'],
  ['haproxy', 'bind :443', 'bind'],
] as const)('mutual TLS through %s', (kind, listening, listen) => {
  const page = 'pass-through'
  describe.skipIf(!isInstalled(kind)).each(['http', 'grpc', 'tcp'])('over %s', (scheme) => {
    let proxy: RealProxy
    let league: League
    beforeAll(async () => {
      const [outer, inner] = [await freePort(), await freePort()]
      proxy = await RealProxy.start({
        kind,
        configuration: await configuration(page, kind, {
          [listening]: `${listen} 127.0.0.1:${outer}`,
          '10.0.0.5:8002': `127.0.0.1:${inner}`,
        }),
        ports: [outer],
      })
      league = await League.start({
        project: await configuration(page, 'project', {
          'league.example.org': 'localhost',
          '10.0.0.5': '127.0.0.1',
          '8002': inner,
          '443': outer,
          'scheme: http': `scheme: ${scheme}`,
        }),
      })
    }, 60_000)
    afterAll(async () => {
      await league?.[Symbol.asyncDispose]()
      await proxy?.[Symbol.asyncDispose]()
    })

    it('runs a job; the server sees whose certificate it is', async () => {
      await expectMeans(league, await submitMeanJob(league))
      expect(await connectionOf(league, 'site-1')).toMatchObject({
        peer: 'site-1',
        mode: 'mtls',
        driver: scheme,
      })
    }, 60_000)

    it('was on the way of those who dial it, and of nobody else', async () => {
      await proxy.kill()
      await league.place('site-1').event('lost')
      const people = await league.asLead('status')
      expect(people.json?.['error']).toMatchObject({ code: 'ERR_SERVER_UNREACHABLE' })
      await proxy.start()
      await league.place('site-1').event('connected', league.place('site-1').events.length - 1)
      expect(await connectionOf(league, 'site-1')).toMatchObject({ peer: 'site-1' })
      expect(league.place('site-2').events.map(({ event }) => event)).not.toContain('lost')
    }, 60_000)
  })
})
