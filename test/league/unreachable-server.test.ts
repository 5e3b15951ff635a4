import { expect, it } from 'vitest'
import { League } from '../support/league.ts'

it('a site that is started without its server says what is wrong and what to do, and goes on waiting', async () => {
  await using league = await League.provision({ sites: ['site-1'] })
  const site = league.launch('site-1')
  const fault = await site.event('fault')
  expect(fault).toMatchObject({
    code: 'nothing-listens',
    what: expect.stringContaining(String(league.port)),
    fix: expect.stringMatching(/start the server/),
  })
  await league.startPlace('server1')
  await site.event('ready')
}, 60_000)
