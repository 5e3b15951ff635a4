import { TransportError } from '@hanse/contract'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeDriver } from '../../driver-socket/test/driver-suite.ts'
import { patternFrame } from '../../driver-socket/test/frames.ts'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import { CLEAR, listenWith } from '../../driver-socket/test/loopback.ts'
import { tcp } from './tcp.ts'

describeDriver({
  name: 'tcp',
  schemes: ['tcp', 'stcp', 'atcp', 'satcp'],
  secureScheme: 'stcp',
  create: tcp,
})

describe('tcp', () => {
  let league: League
  beforeAll(async () => {
    ;[league] = await createLeagues()
  })

  it('says that the listener speaks no TLS', async () => {
    await using ears = await listenWith(tcp(), CLEAR)
    void ears.accepted.then((connection) => connection.send([patternFrame(64)]))
    const failed = tcp().connect(ears.url, league.mtls('site-1'))
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_TLS_HANDSHAKE',
      details: { reason: 'not-tls' },
    })
  })

  it('wants a port', async () => {
    await expect(tcp().connect(new URL('tcp://localhost'), CLEAR)).rejects.toBeInstanceOf(
      TransportError,
    )
  })
})
