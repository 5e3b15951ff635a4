import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditActor, AuditLog } from '@hanse/audit'
import { extractArchive, openArchive } from '@hanse/archive'
import { type Clock, type JsonObject, messageOf, PlatformError } from '@hanse/contract'
import {
  checkDeployedApp,
  datasetsOf,
  formatProblems,
  JobFiles,
  launcherBringsCode,
  verifyJob,
} from '@hanse/jobs'
import { type ConfinementReport, meetsLevel } from '@hanse/launcher-process'
import { createCatalogue, standardComponents } from '@hanse/learning'
import { decide, type Policy } from '@hanse/policy'
import type { SiteKit, TrainerRuntime } from '@hanse/provision'
import type { ActingPerson } from '@hanse/session'

export interface AppDeploymentComponents {
  readonly kit: SiteKit
  readonly clock: Clock
  readonly audit: AuditLog
  readonly policy: Policy
  readonly runtimes: ReadonlyMap<string, TrainerRuntime>
  /** What this machine can confine trainers with. */
  readonly confinement: ConfinementReport
}

export interface DeployRequest {
  readonly jobId: string
  readonly appName: string
  readonly meta: JsonObject
  /** Zip of the app's contents. */
  readonly archive: Uint8Array
  /** Where the run is to be laid out; must not exist. */
  readonly folder: string
}

/** What this site lets an app have. */
export interface DeployedApp {
  readonly meta: JsonObject
  /** Absolute paths by the names that the job asked for. */
  readonly datasets: Readonly<Record<string, string>>
}

/** Why an app is not run here; the code goes into the record, the message to the server. */
class Refusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Deploys an app, if everything that this site asks for holds (`spec/session.md` §6.2): its archive, its signature
 * by the submitter, the policy for that person, its data sets, components and command, and that its code can be
 * confined. Every outcome is recorded. What was refused leaves nothing behind.
 * @throws an error whose message says why, in words that may leave the site
 */
export async function deployApp(
  components: AppDeploymentComponents,
  request: DeployRequest,
): Promise<DeployedApp> {
  const { audit } = components
  const event = {
    actor: actorOf(request.meta),
    act: 'deploy',
    target: request.appName,
    job: request.jobId,
  } as const
  try {
    const app = await deploy(components, request)
    await audit.append({ ...event, outcome: 'accepted', code: 'allowed', text: describe(app) })
    return app
  } catch (error) {
    await rm(request.folder, { recursive: true, force: true })
    const code = error instanceof Refusal || error instanceof PlatformError ? error.code : 'failed'
    await audit.append({ ...event, outcome: 'refused', code, text: messageOf(error) })
    throw error
  }
}

async function deploy(
  components: AppDeploymentComponents,
  { jobId, appName, meta, archive, folder }: DeployRequest,
): Promise<DeployedApp> {
  const { kit } = components
  if (meta['job_id'] !== jobId) throw new Refusal('meta-missing', 'missing job meta')
  await using opened = await openArchive(archive)
  const files = new JobFiles(opened.members())
  const submitter = submitterOf(meta)
  await verifySignature(components, files, meta, submitter)
  authorize(components, 'submit_job', jobId, submitter)
  checkScope(kit, meta)
  const bringsCode = files.folders.has('custom') || launcherBringsCode(meta, kit.name)
  if (bringsCode) {
    authorize(components, 'byoc', jobId, submitter)
    checkConfinement(components)
  }
  const catalogue = createCatalogue(standardComponents())
  const check = await checkDeployedApp(files, 'client', {
    catalogue: { has: (path, side) => catalogue.offers(path, side) },
    runtimes: new Set(components.runtimes.keys()),
  })
  if (!check.ok) throw new Refusal('app-invalid', `app ${appName}: ${formatProblems(check.problems)}`)
  const datasets = grantDatasets(kit, datasetsOf(check.config.content), meta)

  await mkdir(folder, { recursive: true, mode: 0o700 })
  await extractArchive(opened, join(folder, `app_${kit.name}`))
  await writeFile(join(folder, 'fl_app.txt'), appName)
  const stored: JsonObject = { ...meta, byoc: bringsCode }
  await writeFile(join(folder, 'meta.json'), JSON.stringify(stored, null, 2), { mode: 0o600 })
  return { meta: stored, datasets }
}

async function verifySignature(
  { kit, clock }: AppDeploymentComponents,
  files: JobFiles,
  meta: JsonObject,
  submitter: ActingPerson,
): Promise<void> {
  const verdict = await verifyJob(files, {
    roots: kit.identity.roots,
    now: clock.now(),
    submitter: { name: submitter.name, org: submitter.organization, role: submitter.role },
    meta,
  })
  if (verdict.ok || (verdict.code === 'unsigned' && kit.settings.requireSignedJobs === false)) return
  throw new Refusal(
    `signature-${verdict.code}`,
    `the job does not pass signature verification: ${verdict.place}: ${verdict.reason}`,
  )
}

function authorize(
  { kit, policy }: AppDeploymentComponents,
  right: string,
  jobId: string,
  person: ActingPerson,
): void {
  const subject = { name: person.name, org: person.organization, role: person.role }
  const decision = decide(policy, {
    subject,
    right,
    target: { name: kit.name, org: kit.identity.organization ?? '' },
    job: { id: jobId, submitter: subject },
    evidence: 'signature',
  })
  if (!decision.allowed) throw new Refusal(decision.code, decision.explanation)
}

/** A site that has a privacy policy runs no job whose scope it has not read; loading them is not in this version. */
function checkScope({ privacyPolicy }: SiteKit, meta: JsonObject): void {
  const scope = typeof meta['scope'] === 'string' ? meta['scope'] : ''
  if (privacyPolicy !== undefined)
    throw new Refusal(
      'privacy-policy-unsupported',
      "this site has a privacy.json, and privacy scopes are not in this version of Hanse: the site's admin must remove the file or run the site with stock",
    )
  if (scope !== '')
    throw new Refusal('scope-unknown', `privacy scope '${scope}' is not known at this site`)
}

function checkConfinement({ kit, confinement }: AppDeploymentComponents): void {
  const { minimum } = kit.hanse.confinement
  if (meetsLevel(confinement.level, minimum)) return
  throw new Refusal(
    'confinement-too-weak',
    `this site runs code of jobs only at confinement level '${minimum}', and its machine gives '${confinement.level}': ${confinement.shortcomings.join('; ')}`,
  )
}

function grantDatasets(
  kit: SiteKit,
  names: readonly string[],
  meta: JsonObject,
): Readonly<Record<string, string>> {
  const scope = typeof meta['scope'] === 'string' ? meta['scope'] : ''
  const granted: [string, string][] = []
  for (const name of names) {
    const dataset = kit.datasets.get(name)
    if (dataset === undefined)
      throw new Refusal('dataset-unknown', `this site has no data set '${name}'`)
    if (dataset.scopes !== undefined && !dataset.scopes.includes(scope))
      throw new Refusal('dataset-scope', `data set '${name}' is not for jobs of scope '${scope}'`)
    granted.push([name, dataset.path])
  }
  return Object.fromEntries(granted)
}

/** Who submitted a job, as its meta says. */
export function submitterOf(meta: JsonObject): ActingPerson {
  const text = (key: string) => {
    const value = meta[key]
    return typeof value === 'string' ? value : ''
  }
  return {
    name: text('submitter_name'),
    organization: text('submitter_org'),
    role: text('submitter_role'),
  }
}

function actorOf(meta: JsonObject): AuditActor {
  const { name, organization, role } = submitterOf(meta)
  return { name: name === '' ? 'unknown' : name, org: organization, role }
}

function describe({ meta, datasets }: DeployedApp): string {
  const names = Object.keys(datasets)
  const data = names.length === 0 ? 'no data set' : `data sets ${names.join(', ')}`
  return `${meta['byoc'] === true ? 'code of its own, ' : ''}${data}`
}
