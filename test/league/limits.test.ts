import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import { readGlobalModel } from '../support/global-model.ts'
import { trainerOf, writeJob } from '../support/job-folder.ts'
import { League, SERVER } from '../support/league.ts'
import { limitPlace } from '../support/process-limits.ts'

const MIB = 2 ** 20
const ARRAY_MB = 16
/** For a machine with time and memory: HANSE_MEMORY_SITES=16 HANSE_MEMORY_MB=512. */
const SITES = Number(process.env['HANSE_MEMORY_SITES'] ?? 3)
const MB = Number(process.env['HANSE_MEMORY_MB'] ?? 128)
/** What the server and its job's process may each have more than the server at rest; all contributions need more. */
const MORE_MB = 256
const ROUNDS = 2

let league: League | undefined
afterEach(async () => {
  await league?.[Symbol.asyncDispose]()
  league = undefined
})

const sitesOf = (count: number) => Array.from({ length: count }, (_, i) => `site-${i + 1}`)

/** Answers with arrays of some MiB, `mb` together; all elements are the site's number and one more each round. */
const answering = (mb: number, arrayMb = ARRAY_MB) =>
  trainerOf(`
  const value = Number(site.split('-')[1]) + (model.currentRound ?? 0)
  const params = Object.fromEntries(Array.from({ length: ${mb / arrayMb} }, (_, i) => [
    \`layer_\${i}\`,
    { dtype: 'float32', shape: [${(arrayMb * MIB) / 4}], data: new Float32Array(${(arrayMb * MIB) / 4}).fill(value) },
  ]))
  await send({ params, meta: { NUM_STEPS_CURRENT_ROUND: 1 } })
  for (const { data } of Object.values(params)) data.buffer.transfer(0)`)

/** Every element of the job's model is the mean of the last round. */
async function expectMean(of: League, job: string, arrays: number): Promise<void> {
  const model = await readGlobalModel(await of.download(job))
  expect(model.size).toBe(arrays)
  const mean = (of.sites.length + 1) / 2 + ROUNDS - 1
  for (const { data } of model.values())
    expect((data as Float32Array).every((one) => one === mean)).toBe(true)
}

it.each([
  ['a quarter of what is lent below', MORE_MB / 4, 'held'],
  ['all contributions', SITES * MB, ''],
])('a process with the same limit can hold %s: %i MB, %j', async (_, mb, held) => {
  // It limits itself to what it has and as much more, then does what the server must not do. Where memory ends, either
  // an allocation fails or the runtime gives up.
  const child = spawn(
    process.execPath,
    [
      '--eval',
      `const has = Number(/VmData:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
      child_process.execFileSync('prlimit', ['--pid', String(process.pid), '--data=' + (has + ${MORE_MB * MIB})])
      const held = []
      for (let mb = 0; mb < Number(process.argv[1]); mb += ${ARRAY_MB}) held.push(new Uint8Array(${ARRAY_MB * MIB}))
      console.log('held')`,
      String(mb),
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  await once(child, 'close')
  expect(said.trim()).toBe(held)
})

it(`the server adds up ${SITES} models of ${MB} MB in memory that does not hold them`, async () => {
  league = await League.start({ sites: sitesOf(SITES) })
  await limitPlace(league, SERVER, { moreMemoryMb: MORE_MB })
  const folder = await writeJob(league.folder, {
    rounds: ROUNDS,
    minClients: SITES,
    trainer: answering(MB),
  })
  const job = await league.submit(folder)
  expect(await league.wait(job, 3_000), JSON.stringify(await league.show(job))).toBe(
    'FINISHED:COMPLETED',
  )
  await expectMean(league, job, MB / ARRAY_MB)
}, 3_600_000)

it('a full disk where contributions go ends the job with the reason, and the server goes on', async () => {
  league = await League.start()
  // Room for one contribution, not for both and their mean.
  await limitPlace(league, SERVER, { fileMb: 40 })
  const run = async (name: string, mb: number) => {
    const of = league!
    return of.submit(
      await writeJob(of.folder, { name, rounds: ROUNDS, trainer: answering(mb, mb / 2) }),
    )
  }
  const large = await run('large', 32)
  expect(await league.wait(large)).toBe('FINISHED:EXECUTION_EXCEPTION')
  expect(String((await league.show(large))['reason'])).toMatch(
    /the mean of 16 MB does not fit on the disk .*(EFBIG|ENOSPC).* must hold the models of a round/,
  )
  const small = await run('small', 4)
  expect(await league.wait(small)).toBe('FINISHED:COMPLETED')
  await expectMean(league, small, 2)
  expect(await league.leftovers()).toEqual([])
})
