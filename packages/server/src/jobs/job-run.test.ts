import { silentLogger } from '@hanse/contract'
import { COMMAND, COMMAND_HEADER } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../../cellnet/test/fake-clock.ts'
import { FakeServerJob } from '../../test/fake-server-job.ts'
import { FakeSites, resources, siteRecord } from '../../test/fake-sites.ts'
import { DEFAULT_RUN_TIMES, JobRun, type RunEnding, type SiteAnswer } from './job-run.ts'

interface Options {
  readonly sites?: readonly string[]
  readonly minSites?: number
  readonly mandatory?: readonly string[]
  readonly mayRun?: boolean
  readonly startFault?: Error
}

const GRACE_MS = 15_000
const lead = { name: 'lead', organization: 'org', role: 'lead' }

function setUp({
  sites: names = ['a', 'b'],
  minSites = 1,
  mandatory = [],
  mayRun = true,
  startFault,
}: Options = {}) {
  const clock = fakeClock()
  const sites = new FakeSites(clock)
  const process = new FakeServerJob()
  const log: string[] = []
  const answers: SiteAnswer[] = []
  const run = new JobRun(
    {
      cell: sites.cell,
      clock,
      logger: silentLogger,
      async startServerJob(participants) {
        if (startFault !== undefined) throw startFault
        log.push(`server job with ${participants.map(({ name }) => name).join(' ')}`)
        return process
      },
      async onReserved() {
        log.push('reserved')
        return mayRun
      },
      async onDeployed(details) {
        log.push(`deployed ${details.join(', ')}`)
      },
      async onRunning(participants) {
        log.push(`running ${participants.join(' ')}`)
      },
      onAnswer: (answer) => answers.push(answer),
    },
    {
      jobId: 'j1',
      submitter: lead,
      meta: { job_id: 'j1', name: 'test' },
      minSites,
      mandatorySites: mandatory,
      graceMs: GRACE_MS,
      sites: names.map((name) => ({
        site: siteRecord(name),
        app: 'app',
        archive: Uint8Array.of(1),
        resources: {},
      })),
    },
  )
  let ending: RunEnding | undefined
  // Begins once the test has said how sites answer.
  const ended = Promise.resolve()
    .then(() => run.run())
    .then((value) => {
      ending = value
      return value
    })
  const settle = async () => {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  /** Goes on until the server's job serves its sites. */
  const untilRunning = async () => {
    process.becomeReady()
    await settle()
    expect(log.at(-1)).toMatch(/^running/)
  }
  return {
    run,
    clock,
    sites,
    process,
    log,
    answers,
    ended,
    settle,
    untilRunning,
    ending: () => ending,
  }
}

describe('a run that goes well', () => {
  it('asks, deploys, starts, waits for every site, and leaves nothing to undo', async () => {
    const { run, sites, process, log, answers, ended, untilRunning, settle, ending } = setUp()
    await untilRunning()
    expect(log).toEqual(['reserved', 'deployed a: OK, b: OK', 'server job with a b', 'running a b'])
    expect(sites.commandsTo('a')).toEqual([COMMAND.checkResource, COMMAND.deploy, COMMAND.startJob])
    expect(answers).toHaveLength(6)
    expect(answers.every(({ refusal }) => refusal === '')).toBe(true)
    expect(run.participants()).toEqual(['a', 'b'])

    process.complete()
    run.finalReport('a', 0, '')
    await settle()
    expect(ending()).toBeUndefined()
    run.finalReport('b', 1, '')
    expect(await ended).toEqual({ outcome: 'completed' })
    expect(sites.commands).toHaveLength(6)
    expect(process.isDisposed).toBe(true)
  })

  it('starts a site with its reservation and all that take part', async () => {
    const { sites, process, untilRunning, run, ended } = setUp()
    await untilRunning()
    const start = sites.messages.find(
      ({ site, message }) => site === 'b' && message.topic === COMMAND.startJob,
    )!.message
    expect(start.headers.get(COMMAND_HEADER.reservation)).toBe('reservation of b')
    const meta = start.headers.get(COMMAND_HEADER.jobMeta) as Map<string, unknown>
    expect(meta.get('job_clients')).toEqual([new Map([['name', 'a']]), new Map([['name', 'b']])])
    process.complete()
    for (const site of ['a', 'b']) run.finalReport(site, 0, '')
    await ended
  })

  it('goes on without sites that say no, while enough are left', async () => {
    const { run, sites, process, log, answers, ended, untilRunning } = setUp({
      sites: ['a', 'b', 'c', 'd'],
    })
    sites.answer('b', COMMAND.checkResource, resources(false, 'no GPU is free'))
    sites.answer('c', COMMAND.deploy, { refusal: 'not signed' })
    sites.answer('d', COMMAND.startJob, { body: 'NVFLARE_ERROR: too old' })
    await untilRunning()
    expect(log).toContain('deployed a: OK, c: not signed, d: OK')
    expect(log.at(-1)).toBe('running a')
    expect(process.told).toEqual([expect.stringMatching(/gone d: .*too old/)])
    expect(answers.filter(({ refusal }) => refusal !== '')).toEqual([
      { step: 'check-resources', site: 'b', refusal: 'no GPU is free' },
      { step: 'deploy', site: 'c', refusal: 'not signed' },
      { step: 'start', site: 'd', refusal: 'NVFLARE_ERROR: too old' },
    ])
    process.complete()
    run.finalReport('a', 0, '')
    expect(await ended).toEqual({ outcome: 'completed' })
    // Nothing of the run stays where it was deployed or reserved in vain.
    expect(sites.commandsTo('b')).toEqual([COMMAND.checkResource])
    expect(sites.commandsTo('c').slice(2)).toEqual([COMMAND.cancelResource, COMMAND.deleteRun])
    expect(sites.commandsTo('d').slice(3)).toEqual([
      COMMAND.abort,
      COMMAND.cancelResource,
      COMMAND.deleteRun,
    ])
  })
})

describe('a run that cannot start', () => {
  it('tells why too few have resources, and cancels what was reserved', async () => {
    const { sites, ended, log } = setUp({ minSites: 2 })
    sites.answer('b', COMMAND.checkResource, resources(false, 'no GPU is free'))
    expect(await ended).toEqual({
      outcome: 'no-resource',
      reason: "1 of at least 2 sites can take part; site 'b': no GPU is free",
    })
    expect(log).toEqual([])
    expect(sites.commandsTo('a')).toEqual([COMMAND.checkResource, COMMAND.cancelResource])
    expect(sites.commandsTo('b')).toEqual([COMMAND.checkResource])
  })

  it('waits for a mandatory site, however many others there are', async () => {
    const { sites, ended } = setUp({ sites: ['a', 'b', 'c'], mandatory: ['c'] })
    sites.answer('c', COMMAND.checkResource, { body: 'nonsense' })
    expect(await ended).toMatchObject({
      outcome: 'no-resource',
      reason: expect.stringMatching(/mandatory site\(s\) c cannot take part.*cannot be read/),
    })
  })

  it('counts a site that does not answer in time as one that says no', async () => {
    const { sites, clock, ended, settle } = setUp({ minSites: 2 })
    sites.answer('b', COMMAND.checkResource, 'silence')
    await settle()
    clock.advance(DEFAULT_RUN_TIMES.resourceCheckMs)
    expect(await ended).toMatchObject({
      outcome: 'no-resource',
      reason: expect.stringMatching(/site 'b': no answer/),
    })
  })

  it('fails when too few take the app', async () => {
    const { sites, ended, process } = setUp({ minSites: 2 })
    sites.answer('b', COMMAND.deploy, { refusal: 'not signed' })
    expect(await ended).toMatchObject({
      outcome: 'failed-to-run',
      reason: expect.stringMatching(/site 'b': not signed/),
    })
    expect(sites.commandsTo('a').slice(2)).toEqual([COMMAND.cancelResource, COMMAND.deleteRun])
    expect(process.isDisposed).toBe(false)
  })

  it('fails when too few start, and ends those that did', async () => {
    const { sites, ended, process } = setUp({ minSites: 2 })
    sites.answer('b', COMMAND.startJob, { refusal: 'no space' })
    process.becomeReady()
    expect(await ended).toMatchObject({
      outcome: 'failed-to-run',
      reason: expect.stringMatching(/site 'b': no space/),
    })
    expect(sites.commandsTo('a').slice(3)).toEqual([COMMAND.abort])
    expect(process.isDisposed).toBe(true)
  })

  it('does not go on with a job that was aborted or deleted meanwhile', async () => {
    const { sites, ended, log } = setUp({ mayRun: false })
    expect(await ended).toEqual({ outcome: 'withdrawn' })
    expect(log).toEqual(['reserved'])
    expect(sites.commandsTo('a')).toEqual([COMMAND.checkResource, COMMAND.cancelResource])
  })

  it('starts no site when the own process cannot be started', async () => {
    const { sites, ended } = setUp({ startFault: new Error('no such program') })
    expect(await ended).toEqual({ outcome: 'failed-to-run', reason: 'no such program' })
    expect(sites.commands.filter((command) => command.includes(COMMAND.startJob))).toEqual([])
  })

  it.each<[string, (process: FakeServerJob) => void, RegExp]>([
    [
      'ends at once, with its own words',
      (process) => {
        process.say({ failed: true, reason: 'the config has no workflow' })
        process.exit(1)
      },
      /the config has no workflow/,
    ],
    ['is killed', (process) => process.exit(null, 'SIGKILL', 'out of memory'), /SIGKILL.*out of/],
    ['ends with 0 before it began', (process) => process.complete(), /ended at once/],
  ])('starts no site when the own process %s', async (_how, act, reason) => {
    const { sites, ended, process, settle } = setUp()
    await settle()
    act(process)
    expect(await ended).toEqual({
      outcome: 'failed-to-run',
      reason: expect.stringMatching(reason),
    })
    expect(sites.commandsTo('a').slice(2)).toEqual([COMMAND.cancelResource, COMMAND.deleteRun])
  })

  it('gives up an own process that never gets ready', async () => {
    const { ended, clock, process, settle } = setUp()
    await settle()
    clock.advance(DEFAULT_RUN_TIMES.readyMs)
    expect(await ended).toMatchObject({
      outcome: 'failed-to-run',
      reason: expect.stringMatching(/not ready within 60 s/),
    })
    expect(process.isDisposed).toBe(true)
  })
})

describe('an abort', () => {
  const aborted = { outcome: 'aborted', reason: 'aborted by anna' }

  it('while sites are asked for resources does not wait for them', async () => {
    const { run, sites, ended, settle } = setUp()
    sites.answer('b', COMMAND.checkResource, 'silence')
    await settle()
    expect(run.abort('anna')).toBe(true)
    expect(await ended).toEqual(aborted)
    expect(sites.commandsTo('a')).toEqual([COMMAND.checkResource, COMMAND.cancelResource])
  })

  it('while the app is deployed takes it back, also where the answer is outstanding', async () => {
    const { run, sites, ended, settle } = setUp()
    sites.answer('b', COMMAND.deploy, 'silence')
    await settle()
    run.abort('anna')
    expect(await ended).toEqual(aborted)
    for (const site of ['a', 'b'])
      expect(sites.commandsTo(site).slice(2)).toEqual([COMMAND.cancelResource, COMMAND.deleteRun])
  })

  it('while the own process starts ends it, and starts no site', async () => {
    const { run, sites, ended, settle, process } = setUp()
    await settle()
    run.abort('anna')
    expect(await ended).toEqual(aborted)
    expect(process.isDisposed).toBe(true)
    expect(sites.commandsTo('a')).not.toContain(COMMAND.startJob)
  })

  it('while sites start ends them all, also the one that has not answered', async () => {
    const { run, sites, ended, settle, process } = setUp()
    sites.answer('b', COMMAND.startJob, 'silence')
    process.becomeReady()
    await settle()
    run.abort('anna')
    expect(await ended).toEqual(aborted)
    expect(sites.commandsTo('a').slice(3)).toEqual([COMMAND.abort])
    expect(sites.commandsTo('b').slice(3)).toEqual([
      COMMAND.abort,
      COMMAND.cancelResource,
      COMMAND.deleteRun,
    ])
  })

  it.each([true, false])('of a running job ends it everywhere (it obeys: %s)', async (obeys) => {
    const { run, sites, ended, untilRunning, process } = setUp()
    process.obeys = obeys
    await untilRunning()
    run.abort('anna')
    expect(await ended).toEqual(aborted)
    expect(process.told).toEqual(['stop'])
    expect(sites.commandsTo('a').at(-1)).toBe(COMMAND.abort)
    expect(run.abort('anna')).toBe(false)
  })

  it('while last reports are awaited ends the wait', async () => {
    const { run, ended, untilRunning, settle, process } = setUp()
    await untilRunning()
    process.complete()
    await settle()
    run.abort('anna')
    expect(await ended).toEqual(aborted)
  })
})

describe("the end of the server's own process", () => {
  it.each<[string, (process: FakeServerJob) => void, RunEnding]>([
    [
      'with a failure of the workflow',
      (process) => {
        process.say({ failed: true, reason: 'too few answered' })
        process.exit(1)
      },
      { outcome: 'execution-exception', reason: 'too few answered' },
    ],
    [
      'by a signal',
      (process) => process.exit(null, 'SIGKILL'),
      { outcome: 'abnormal', reason: "the server's job process ended by signal SIGKILL" },
    ],
    [
      'without a word',
      (process) => process.exit(0),
      { outcome: 'abnormal', reason: "the server's job process ended with code 0" },
    ],
    [
      'with an exception',
      (process) => process.exit(101, null, 'boom'),
      {
        outcome: 'execution-exception',
        reason: "the server's job process ended with code 101; its last words: boom",
      },
    ],
    [
      'with a fault of the infrastructure',
      (process) => process.exit(104),
      { outcome: 'abnormal', reason: "the server's job process ended with code 104" },
    ],
    [
      'by itself as if aborted',
      (process) => process.exit(9),
      { outcome: 'aborted', reason: "the server's job process ended with code 9" },
    ],
  ])('%s ends the job, with its sites told to stop', async (_how, act, expected) => {
    const { sites, ended, untilRunning, process } = setUp()
    await untilRunning()
    act(process)
    expect(await ended).toEqual(expected)
    for (const site of ['a', 'b']) expect(sites.commandsTo(site).at(-1)).toBe(COMMAND.abort)
  })
})

describe('the report of a site', () => {
  it.each([
    [101, 'execution-exception'],
    [103, 'execution-exception'],
    [104, 'abnormal'],
    [102, 'aborted'],
    [9, 'aborted'],
  ])(
    'with code %s ends the job as %s, also after the process has ended well',
    async (code, outcome) => {
      for (const late of [false, true]) {
        const { run, sites, ended, untilRunning, settle, process } = setUp()
        await untilRunning()
        if (late) process.complete()
        await settle()
        run.finalReport('a', code, 'the trainer died')
        expect(await ended).toEqual({ outcome, reason: "site 'a': the trainer died" })
        // The one that reported has nothing left to stop.
        expect(sites.commandsTo('a')).not.toContain(COMMAND.abort)
        expect(sites.commandsTo('b').at(-1)).toBe(COMMAND.abort)
      }
    },
  )

  it('without words names the code', async () => {
    const { run, ended, untilRunning } = setUp()
    await untilRunning()
    run.finalReport('a', 101, '')
    expect(await ended).toMatchObject({ reason: "site 'a': its job process ended with code 101" })
  })

  it('that it ended well in the middle puts it in doubt, and it does not come back', async () => {
    const { run, ended, untilRunning, process } = setUp()
    await untilRunning()
    run.finalReport('a', 0, '')
    run.siteBack('a')
    expect(process.told).toEqual([expect.stringMatching(/^doubt a: .*ended its part/)])
    process.complete()
    run.finalReport('b', 0, '')
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it('counts once, and not from a site that takes no part', async () => {
    const { run, ended, untilRunning } = setUp()
    await untilRunning()
    run.finalReport('stranger', 101, 'haha')
    run.finalReport('a', 101, 'first')
    run.finalReport('b', 104, 'second')
    expect(await ended).toEqual({
      outcome: 'execution-exception',
      reason: "site 'a': first",
    })
    run.finalReport('b', 101, 'too late')
  })
})

describe('a site', () => {
  it('whose link is lost is in doubt until it is back', async () => {
    const { run, ended, untilRunning, process } = setUp()
    await untilRunning()
    run.siteAbsent('a', 'connection-lost')
    run.siteBack('a')
    run.siteBack('stranger')
    run.siteAbsent('stranger', 'quit')
    expect(process.told).toEqual(["doubt a: the connection to site 'a' was lost", 'alive a'])
    process.complete()
    for (const site of ['a', 'b']) run.finalReport(site, 0, '')
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it('that is gone at the end is awaited for the grace only', async () => {
    const { run, ended, untilRunning, settle, process, clock, ending } = setUp()
    await untilRunning()
    run.siteAbsent('a', 'connection-lost')
    process.complete()
    run.finalReport('b', 0, '')
    await settle()
    clock.advance(GRACE_MS - 1)
    await settle()
    expect(ending()).toBeUndefined()
    clock.advance(1)
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it('that came back is awaited again, and told to end if it does not by itself', async () => {
    const { run, sites, ended, untilRunning, settle, process, clock, ending } = setUp()
    await untilRunning()
    run.siteAbsent('a', 'connection-lost')
    run.siteBack('a')
    process.complete()
    run.finalReport('b', 0, '')
    await settle()
    clock.advance(GRACE_MS)
    await settle()
    expect(ending()).toBeUndefined()
    expect(sites.commandsTo('a').at(-1)).toBe(COMMAND.abort)
    expect(sites.commandsTo('b')).not.toContain(COMMAND.abort)
    run.finalReport('a', 0, '')
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it('that never reports does not keep the job for ever', async () => {
    const { run, ended, untilRunning, settle, process, clock } = setUp()
    await untilRunning()
    process.complete()
    run.finalReport('b', 0, '')
    await settle()
    clock.advance(DEFAULT_RUN_TIMES.finalReportMs)
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it.each([
    ['restarted', 'gone'],
    ['quit', 'gone'],
    ['disabled', 'gone'],
    ['heartbeat-missed', 'doubt'],
  ] as const)('that %s is %s, and its report is not awaited', async (why, how) => {
    const { run, ended, untilRunning, process } = setUp()
    await untilRunning()
    run.siteAbsent('a', why)
    run.siteBack('a')
    expect(process.told[0]).toMatch(new RegExp(`^${how} a: `))
    // One whose process is gone is not taken for alive when its next process logs in.
    expect(process.told.includes('alive a')).toBe(how === 'doubt')
    process.complete()
    run.finalReport('b', 0, '')
    expect(await ended).toEqual({ outcome: 'completed' })
  })

  it('that does not list the job any more is in doubt, but only if it did before', async () => {
    const { run, untilRunning, process, ended } = setUp()
    await untilRunning()
    run.siteReports('a', false)
    expect(process.told).toEqual([])
    run.siteReports('a', true)
    run.siteReports('a', false)
    run.siteReports('stranger', true)
    expect(process.told).toEqual(["doubt a: site 'a' does not run the job any more"])
    run.abort('anna')
    await ended
  })
})
