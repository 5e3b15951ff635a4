import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Archive, extractArchive, openArchive, writeArchive } from '@hanse/archive'
import { type JobStore, PlatformError, type StoredJob } from '@hanse/contract'
import {
  mandatoryClientsOf,
  minClientsOf,
  readDeployMap,
  resolveDeployMap,
  resourceRequirement,
  SERVER_SITE,
} from '@hanse/jobs'
import type { ServerKit } from '@hanse/provision'
import { decideScope } from '@hanse/provision/kit'
import { submitterOf, textIn } from '@hanse/session'
import { writeRunFile } from '../job-process/run-file.ts'
import type { SiteRegistry } from '../sites/site-registry.ts'
import type { PlannedSite, RunParticipant, RunPlan } from './job-run.ts'
import type { ServerJobProcess, ServerJobStarter } from './server-job-process.ts'

export interface RunComponents {
  readonly store: JobStore
  readonly sites: SiteRegistry
  readonly kit: ServerKit
  readonly processes: ServerJobStarter
  readonly logLevel: string
}

export interface PreparedRun {
  readonly plan: RunPlan
  startServerJob(participants: readonly RunParticipant[]): Promise<ServerJobProcess>
}

const SERVER_APP = 'app_server'

/** Why a job is not run at this server; the code goes into the record. */
export class RunRefusal extends PlatformError {}

/**
 * Lays out the folder of a run and plans what each site gets.
 * @throws {RunRefusal} `scope-not-allowed`
 */
export async function prepareRun(
  components: RunComponents,
  job: StoredJob,
  siteNames: readonly string[],
  folder: string,
): Promise<PreparedRun> {
  const { store, sites, kit, processes, logLevel } = components
  const decision = decideScope(kit.privacyPolicy, textIn(job.meta, 'scope'))
  if (!decision.allowed) throw new RunRefusal(decision.code, `the server: ${decision.reason}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const zip = join(folder, 'job.zip')
  await pipeline(store.readBlob(job.id, 'data'), createWriteStream(zip, { mode: 0o600 }))
  await using archive = await openArchive(zip)
  const top = textIn(job.meta, 'job_folder_name')
  const apps = resolveDeployMap(readDeployMap(job.meta), siteNames)

  const serverApp = apps.get(SERVER_SITE) ?? ''
  await extractArchive(archive, join(folder, SERVER_APP), { folder: `${top}/${serverApp}` })
  await writeFile(join(folder, 'fl_app.txt'), serverApp)
  await writeFile(join(folder, 'meta.json'), JSON.stringify(job.meta, null, 2))

  const archives = new Map<string, Uint8Array>()
  const planned: PlannedSite[] = []
  for (const name of siteNames) {
    const site = sites.get(name)
    const app = apps.get(name)
    if (site === undefined || app === undefined) continue
    const packed = archives.get(app) ?? (await packApp(archive, `${top}/${app}`))
    archives.set(app, packed)
    planned.push({ site, app, archive: packed, resources: resourceRequirement(job.meta, name) })
  }
  const minSites = minClientsOf(job.meta)
  const mandatorySites = mandatoryClientsOf(job.meta)

  return {
    plan: {
      jobId: job.id,
      submitter: submitterOf(job.meta),
      meta: job.meta,
      minSites,
      mandatorySites: [...mandatorySites],
      sites: planned,
      graceMs: kit.settings.deadClientGraceSeconds * 1000,
    },
    async startServerJob(participants) {
      await writeRunFile(folder, {
        jobId: job.id,
        jobName: textIn(job.meta, 'name'),
        project: kit.project,
        participants: [...participants],
        minSites,
        mandatorySites: [...mandatorySites],
        graceSeconds: kit.settings.deadClientGraceSeconds,
        filters: [...(decision.scope?.filters ?? [])],
        logLevel,
      })
      return processes.start(job.id, folder)
    },
  }
}

/** The contents of one app as the zip that sites get. */
async function packApp(archive: Archive, folder: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of writeArchive(archive.members(folder))) parts.push(part)
  return new Uint8Array(Buffer.concat(parts))
}
