import { appendFile, cp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { LEAD, League, SERVER } from '../support/league.ts'

let league: League
/** Says of the same server that it is its own. */
let other: League
let expired: League
beforeAll(async () => {
  league = await League.start()
  const { port } = league
  ;[other, expired] = await Promise.all([
    League.provision({ name: 'other_league', port }),
    League.provision({ madeDaysAgo: 400, port }),
  ])
}, 120_000)
afterAll(async () => {
  await Promise.all([league, other, expired].map((one) => one?.[Symbol.asyncDispose]()))
})

const QUICK = trainerOf(`await send({ metrics: { ok: 1 } })`)
let copies = 0
const nextCopy = () => {
  copies += 1
  return copies
}

/** A copy of a kit to spoil. */
async function copyOfKit(name: string, from = league): Promise<string> {
  const folder = join(league.folder, `copy-${nextCopy()}`)
  await cp(from.kit(name), folder, { recursive: true })
  await rm(join(folder, 'state'), { recursive: true, force: true })
  return folder
}

/** Starts a kit that must be refused and returns how it ended. */
async function startRefused(
  kit: string,
): Promise<{ readonly code: number | null; readonly words: string }> {
  const place = league.launch(`refused-${nextCopy()}`, kit)
  const { code } = await place.exited
  return { code, words: JSON.stringify(place.events) + place.stderr }
}

describe('a kit that is not whole', () => {
  it.each(['fed_client.json', 'start.sh', 'rootCA.pem'])(
    'names the changed file %s',
    async (file) => {
      const kit = await copyOfKit('site-1')
      await appendFile(join(kit, 'startup', file), '\n')
      const { code, words } = await startRefused(kit)
      expect(code).toBe(3)
      expect(words).toContain(file)
    },
  )

  it('names a missing file, and does without no manifest', async () => {
    const kit = await copyOfKit('site-1')
    await rm(join(kit, 'startup', 'fed_client.json'))
    expect((await startRefused(kit)).words).toContain('fed_client.json')
    const stripped = await copyOfKit('site-1')
    for (const name of await readdir(join(stripped, 'startup')))
      if (name.includes('manifest')) await rm(join(stripped, 'startup', name))
    const { code, words } = await startRefused(stripped)
    expect(code).toBe(3)
    expect(words).toMatch(/manifest/)
  })

  it('lets a site change what is its own', async () => {
    const kit = await copyOfKit('site-1')
    await writeFile(join(kit, 'local', 'datasets.json'), '{"format_version": 1, "datasets": {}}')
    // The name is in use, which is what it gets as far as.
    expect((await startRefused(kit)).words).toMatch(/site-1/)
  })
})

describe('who is not of this league', () => {
  it('is a site of another league: ends with 3, says why, and is in the record', async () => {
    const { code, words } = await startRefused(await copyOfKit('site-1', other))
    expect(code).toBe(3)
    expect(words).toMatch(/another root/)
    const record = await league.record(SERVER)
    expect(record.some(({ act, outcome }) => act === 'connect' && outcome === 'refused')).toBe(true)
  }, 60_000)

  it('is a person of another league', async () => {
    const result = await league.hanse('status', '--as', other.kit(LEAD))
    expect(result.code).toBe(3)
    expect(JSON.stringify(result.json)).toMatch(/another root/)
  }, 60_000)

  it('has a certificate that has expired', async () => {
    const { code, words } = await startRefused(await copyOfKit('site-1', expired))
    expect(code).toBe(3)
    expect(words).toMatch(/expired/)
    const person = await league.hanse('status', '--as', expired.kit(LEAD))
    expect(person.code).toBe(3)
    expect(JSON.stringify(person.json)).toMatch(/expired/)
  }, 60_000)
})

describe('a name that is connected already', () => {
  it('ends the second process with 3 and leaves the first alone', async () => {
    const { code, words } = await startRefused(await copyOfKit('site-1'))
    expect(code).toBe(3)
    expect(words).toMatch(/already|in use/i)
    const sites = (await league.asLead('status')).json?.['sites']
    expect(sites).toMatchObject([
      { name: 'site-1', connected: true },
      { name: 'site-2', connected: true },
    ])
    expect(
      (await league.record(SERVER)).some((entry) => JSON.stringify(entry).includes('refused')),
    ).toBe(true)
  }, 60_000)
})

describe('a job that is refused at submission', () => {
  const submit = async (folder: string) => {
    const result = await league.asLead('job', 'submit', folder)
    expect(result.code, result.stdout).toBe(3)
    return JSON.stringify(result.json)
  }

  it('names a component that we do not have, also in a .conf file', async () => {
    const workflow = { id: 'x', path: 'nvflare.app_common.workflows.nowhere.Missing', args: {} }
    const json = await writeJob(league.folder, {
      name: 'missing',
      trainer: QUICK,
      server: { workflows: [workflow] },
    })
    expect(await submit(json)).toContain('nvflare.app_common.workflows.nowhere.Missing')
    const conf = await writeJob(league.folder, { name: 'conf', trainer: QUICK })
    await rm(join(conf, 'app', 'config', 'config_fed_server.json'))
    await writeFile(
      join(conf, 'app', 'config', 'config_fed_server.conf'),
      `format_version = 2\nworkflows = [ { id = "x", path = "nvflare.app_common.workflows.nowhere.Missing", args {} } ]\n`,
    )
    expect(await submit(conf)).toContain('nvflare.app_common.workflows.nowhere.Missing')
  }, 60_000)

  it.each([
    ['a shell', ['bash', '-c', 'id']],
    ['a path', ['/usr/bin/node', 'custom/train.ts']],
    ['an option before the script', ['node', '--import=data:text/javascript,0', 'custom/train.ts']],
    ['a script outside custom/', ['node', 'config/config_fed_client.json']],
    ['a way out of custom/', ['node', 'custom/../../../x.ts']],
    ['a script that is not there', ['node', 'custom/nothing.ts']],
  ])('whose command names %s', async (_what, command) => {
    const folder = await writeJob(league.folder, {
      name: `command-${nextCopy()}`,
      trainer: QUICK,
      command,
    })
    expect(await submit(folder)).toMatch(/command/)
  })

  it('holds a link', async () => {
    const folder = await writeJob(league.folder, { name: 'link', trainer: QUICK })
    await symlink('/etc/passwd', join(folder, 'app', 'custom', 'passwd'))
    expect(await submit(folder)).toMatch(/link/)
  })

  it('comes from somebody who may not submit', async () => {
    const folder = await writeJob(league.folder, { name: 'member', trainer: QUICK })
    const result = await league.hanse(
      'job',
      'submit',
      folder,
      '--as',
      league.kit('member@example.org'),
    )
    expect(result.code).toBe(3)
    expect(JSON.stringify(result.json)).toMatch(/authorized/)
    const refused = (await league.record(SERVER)).map((entry) => JSON.stringify(entry))
    expect(
      refused.some((entry) => entry.includes('member@example.org') && entry.includes('refused')),
    ).toBe(true)
  })
})

describe('a job that a site refuses', () => {
  it('asks for a data set that the site does not have', async () => {
    const folder = await writeJob(league.folder, {
      name: 'data',
      trainer: QUICK,
      datasets: ['no-such-data'],
    })
    const job = await league.submit(folder)
    expect(await league.wait(job)).toMatch(/FINISHED:(FAILED_TO_RUN|CAN_NOT_SCHEDULE)/)
    expect(String((await league.show(job))['reason'])).toContain('no-such-data')
  }, 60_000)
})

describe('a trainer that does what it may not', () => {
  const secretOf = (site: string) => join(league.kit(site), 'startup', 'client.key')
  it.each([
    [
      'opens a socket',
      `const net = await import('node:net'); await new Promise((y, n) => net.connect(${1}, '127.0.0.1', y).on('error', n))`,
    ],
    ['kills its parent', `process.kill(process.ppid, 'SIGKILL')`],
    [
      'opens a database',
      `const { DatabaseSync } = await import('node:sqlite'); new DatabaseSync(':memory:')`,
    ],
    [
      'starts a program',
      `const { execFileSync } = await import('node:child_process'); execFileSync('/bin/true')`,
    ],
    [
      'reads /etc/shadow',
      `const { readFileSync } = await import('node:fs'); readFileSync('/etc/shadow')`,
    ],
  ])(
    '%s: the job ends as failed with a readable reason',
    async (name, attack) => {
      const trainer = trainerOf(`${attack}\n  await send({ metrics: { succeeded: 1 } })`)
      const folder = await writeJob(league.folder, {
        name: `attack-${nextCopy()}`,
        rounds: 1,
        trainer,
      })
      const job = await league.submit(folder)
      expect(await league.wait(job), name).toBe('FINISHED:EXECUTION_EXCEPTION')
      expect(String((await league.show(job))['reason'])).toMatch(/trainer/)
      expect((await league.asLead('status')).json?.['sites']).toMatchObject([
        { connected: true },
        { connected: true },
      ])
    },
    60_000,
  )

  it("reads the site's own key", async () => {
    const trainer = trainerOf(`
  const { readFileSync } = await import('node:fs')
  readFileSync(${JSON.stringify('KEY')}.replace('KEY', '${secretOf('site-1')}'))
  await send({ metrics: { succeeded: 1 } })`)
    const job = await league.submit(
      await writeJob(league.folder, { name: 'key', rounds: 1, trainer }),
    )
    expect(await league.wait(job)).toBe('FINISHED:EXECUTION_EXCEPTION')
  }, 60_000)

  it("sees nothing of the site's environment", async () => {
    const trainer = trainerOf(`
  const { HOME, ...rest } = process.env
  const seen = Object.keys(rest).filter((name) => /XDG|TOKEN|KEY|NVFLARE|USER/.test(name))
  if (HOME?.includes('config')) seen.push('HOME')
  await send({ params: { n: { dtype: 'float64', shape: [], data: Float64Array.of(seen.length) } } })`)
    const job = await league.submit(
      await writeJob(league.folder, { name: 'env', rounds: 1, trainer }),
    )
    expect(await league.wait(job)).toBe('FINISHED:COMPLETED')
    const model = await readGlobalModel(await league.download(job))
    expect([...model.get('n')!.data]).toEqual([0])
  }, 60_000)
})
