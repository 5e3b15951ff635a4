import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { detectConfinement } from '@hanse/launcher-process'
import { readResult, resultTable } from './demo-result.ts'
import {
  acceptConfinement,
  grantDataset,
  listenOnLoopback,
  writeProjectFile,
} from './league-folder.ts'
import { HanseProcesses } from './processes.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const EXAMPLE = join(ROOT, 'examples', 'breast-cancer')
const HANSE = join(ROOT, 'packages', 'cli', 'bin', 'hanse.js')
const DATASET = 'breast-cancer'
const JOB_SECONDS = 120

const USAGE = `npm run demo [-- --json] [-- --keep]

Three hospitals on this machine learn together, each in a process of its own.
  --json   last line: the result as one JSON object
  --keep   leave the league running and say how to use it
`

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

interface Participant {
  readonly name: string
  readonly type: string
  readonly kit: string
}

/** What happens is told on standard error; standard output has the table, or the JSON. */
function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

async function demo(signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'hanse-demo-'))
  // The result outlives the league.
  const results = await mkdtemp(join(tmpdir(), 'hanse-demo-result-'))
  const config = join(folder, 'config')
  await mkdir(config, { mode: 0o700 })
  const environment = { ...process.env, XDG_CONFIG_HOME: config }
  let isKept = false
  try {
    await using hanse = new HanseProcesses(HANSE, folder, environment)
    const step = (title: string, ...commands: string[]) =>
      say(`\n${title}\n${commands.map((command) => `  $ npx hanse ${command}`).join('\n')}`)

    say(`A league of three hospitals in ${folder}`)
    await writeProjectFile(EXAMPLE, folder)
    step('The project admin makes everybody a startup kit:', 'provision project.yml --out kits')
    const provisioned = (await hanse.run(
      ['provision', 'project.yml', '--out', 'kits'],
      signal,
    )) as {
      readonly participants: readonly Participant[]
    }
    const { server, sites, researcher } = roles(provisioned.participants)
    const short = ({ kit }: Participant) => relative(folder, kit)

    await listenOnLoopback(server.kit)
    for (const { name, kit } of sites) await grantDataset(kit, DATASET, join(EXAMPLE, 'data', name))
    say(
      `\nEach hospital grants its data set "${DATASET}" to jobs, in local/datasets.json of its kit.`,
    )

    const { level, shortcomings } = await detectConfinement()
    if (level !== 'namespaces') {
      say(
        `\nThis machine confines trainers at the level "${level}" only: ${shortcomings.join('; ')}.`,
      )
      say('Each hospital accepts that for this demo, in local/hanse.json of its kit.')
      for (const { kit } of sites) await acceptConfinement(kit, level)
    }

    step(
      'The server and every hospital start, each a process of its own:',
      `start ${short(server)}`,
      ...sites.map((site) => `start ${short(site)}`),
    )
    await hanse.start(server.name, server.kit, signal)
    const ready = await Promise.all(sites.map(({ name, kit }) => hanse.start(name, kit, signal)))
    const confinement = String(ready[0]?.['confinement'] ?? 'unknown')

    const as = ['--as', researcher.kit]
    step('The researcher looks around …', `status --as ${short(researcher)}`)
    await hanse.show(['status', ...as], 2, signal)

    const jobFolder = join(EXAMPLE, 'job')
    step('… and sends a job:', `job submit ${relative(ROOT, jobFolder)} --as ${short(researcher)}`)
    const { job } = (await hanse.run(['job', 'submit', jobFolder, ...as], signal)) as {
      readonly job: string
    }
    say(`  ${job}`)

    step('It runs at the hospitals; only models travel:', `job wait ${job}`)
    await hanse.show(['job', 'wait', job, '--timeout', String(JOB_SECONDS), ...as], 2, signal)

    step('The result:', `job download ${job} --out ${results}`)
    const downloaded = (await hanse.run(
      ['job', 'download', job, '--out', results, ...as],
      signal,
    )) as {
      readonly folder: string
    }
    const result = await readResult(
      downloaded.folder,
      join(EXAMPLE, 'data', sites[0]!.name, 'test.csv'),
    )
    if (!values.json) {
      say(
        `\nOf ${result.testPatients} patients that nobody trained on, the model tells the diagnosis of:\n`,
      )
      process.stdout.write(`${resultTable(result)}\n`)
    }
    say(`\nmodel: ${result.model}\ntrainers were confined by: ${confinement}`)
    if (values.keep) {
      isKept = true
      sayHowToUse(folder, config, short(researcher), hanse.pids)
      hanse.leave()
    }
    if (values.json) {
      const { rounds, federatedAccuracy, model } = result
      process.stdout.write(
        `${JSON.stringify({ job, rounds, sites: result.sites, federatedAccuracy, model, confinement })}\n`,
      )
    }
  } finally {
    if (!isKept) await rm(folder, { recursive: true, force: true })
  }
}

function roles(participants: readonly Participant[]): {
  readonly server: Participant
  readonly sites: readonly Participant[]
  readonly researcher: Participant
} {
  const server = participants.find(({ type }) => type === 'server')
  const sites = participants.filter(({ type }) => type === 'site')
  const researcher = participants.find(({ type }) => type === 'admin')
  if (server === undefined || researcher === undefined || sites.length === 0)
    throw new Error('the project of the demo needs a server, sites and a researcher')
  return { server, sites, researcher }
}

function sayHowToUse(
  folder: string,
  config: string,
  researcher: string,
  pids: ReadonlyMap<string, number>,
): void {
  say(`
The league goes on. To use it:
  cd ${folder}
  export HANSE_KIT=${researcher} XDG_CONFIG_HOME=${config}
  npx --prefix ${ROOT} hanse status
  npx --prefix ${ROOT} hanse job submit ${join(EXAMPLE, 'job')}
To end it:
  kill ${[...pids.values()].join(' ')} && rm -r ${folder}`)
}

if (values.help) process.stdout.write(USAGE)
else {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => stop.abort(new Error(`interrupted by ${name}`)))
  try {
    await demo(stop.signal)
  } catch (error) {
    say(`demo: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
