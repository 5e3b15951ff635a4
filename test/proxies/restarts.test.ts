import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { League } from '../support/league.ts'
import { connectionOf } from './support/connections.ts'
import { expectMeans, submitMeanJob } from './support/mean-job.ts'
import { configuration } from './support/page.ts'
import { isInstalled, RealProxy } from './support/real-proxy.ts'

/** 8 MB. */
const MODEL = { count: 2_000_000, rounds: 2 }
const MODEL_BYTES = MODEL.count * 4
/** So that a transfer takes about two seconds each way. */
const RATE = '4m'

describe.skipIf(!isInstalled('nginx')).each(['http', 'grpc', 'tcp'])(
  'a proxy that is killed in the middle of a transfer over %s',
  (scheme) => {
    let proxy: RealProxy
    let league: League
    beforeAll(async () => {
      const [outer, inner] = [await freePort(), await freePort()]
      proxy = await RealProxy.start({
        kind: 'nginx',
        configuration: await configuration('pass-through', 'nginx', {
          'listen 443': `listen 127.0.0.1:${outer}`,
          '10.0.0.5:8002': `127.0.0.1:${inner}`,
          'proxy_timeout 5m': `proxy_timeout 5m; proxy_upload_rate ${RATE}; proxy_download_rate ${RATE}`,
        }),
        ports: [outer],
      })
      league = await League.start({
        project: await configuration('pass-through', 'project', {
          'league.example.org': 'localhost',
          '10.0.0.5': '127.0.0.1',
          'role: lead, connect_to: { port: 443 }': 'role: lead',
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

    it('costs no number of the result, on the way up and on the way down', async () => {
      const site = league.place('site-1')
      const job = await submitMeanJob(league, MODEL)
      // First what the site sends, then what it is sent: of each a quarter of a model is through.
      for (const direction of ['bytesReceived', 'bytesSent'] as const) {
        let bytes = 0
        while (bytes < MODEL_BYTES / 4)
          bytes = (await connectionOf(league, 'site-1'))?.[direction] ?? 0
        expect(bytes).toBeLessThan(MODEL_BYTES)
        const seen = site.events.length
        await proxy.kill()
        await site.event('lost', seen)
        await proxy.start()
        await site.event('connected', seen)
      }
      await expectMeans(league, job, MODEL)
      expect(site.events.filter(({ event }) => event === 'job-started')).toHaveLength(1)
    }, 120_000)
  },
)
