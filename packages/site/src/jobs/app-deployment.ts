import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { extractArchive, openArchive } from '@hanse/archive'
import { type Clock, type JsonObject, PlatformError } from '@hanse/contract'
import {
  checkDeployedApp,
  datasetsOf,
  formatProblems,
  JobFiles,
  launcherBringsCode,
  type SignatureVerdict,
  verifyJob,
} from '@hanse/jobs'
import { type ConfinementReport, meetsLevel } from '@hanse/launcher-process'
import { createCatalogue, standardComponents } from '@hanse/learning'
import { decide, isListedComponent, type Policy } from '@hanse/policy'
import type { PrivacyScope, SiteKit, TrainerRuntime } from '@hanse/provision'
import { decideScope } from '@hanse/provision/kit'
import { type ActingPerson, type ProofVerifier, submitterOf, textIn } from '@hanse/session'
import { admitSubmission, type SubmittedApp } from './admit-submission.ts'
import type { SubmissionMemory } from './submission-memory.ts'

export interface AppDeploymentComponents {
  readonly kit: SiteKit
  readonly clock: Clock
  readonly policy: Policy
  readonly runtimes: ReadonlyMap<string, TrainerRuntime>
  /** What this machine can confine trainers with. */
  readonly confinement: ConfinementReport
  readonly submissions: SubmissionMemory
  /** Of people. */
  readonly verifier: ProofVerifier
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
  readonly name: string
  readonly meta: JsonObject
  /** Whose filters its results must pass; `undefined` at a site without privacy rules. */
  readonly scope: PrivacyScope | undefined
  /** Absolute paths by the names that the job asked for. */
  readonly datasets: Readonly<Record<string, string>>
}

/** Why an app is not run here; the code goes into the record, the message to the server. */
class Refusal extends PlatformError {}

/**
 * Deploys an app, if everything that this site asks for holds (`spec/session.md` §6.2): its archive, its signature
 * by the submitter, the policy for that person, its data sets, components and command, and that its code can be
 * confined. What was refused leaves nothing behind.
 * @throws {PlatformError} whose code and message say why, in words that may leave the site
 */
export async function deployApp(
  components: AppDeploymentComponents,
  request: DeployRequest,
): Promise<DeployedApp> {
  try {
    return await deploy(components, request)
  } catch (error) {
    await rm(request.folder, { recursive: true, force: true })
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
  const verdict = await verifySignature(components, files, meta, submitter)
  authorize(components, 'submit_job', jobId, submitter)
  const scope = scopeOf(kit, meta)
  const bringsCode = files.folders.has('custom') || launcherBringsCode(meta, kit.name)
  if (bringsCode) {
    authorize(components, 'byoc', jobId, submitter)
    checkConfinement(components)
  }
  const catalogue = createCatalogue(standardComponents())
  const unlisted = new Set<string>()
  const check = await checkDeployedApp(files, 'client', {
    catalogue: {
      has(path, side) {
        if (!isListedComponent(kit.settings.componentPolicy, path)) unlisted.add(path)
        return catalogue.offers(path, side)
      },
    },
    runtimes: new Set(components.runtimes.keys()),
  })
  // Who may bring code may also use every component that there is.
  if (unlisted.size > 0 && !bringsCode)
    throw new Refusal(
      'component-not-listed',
      `the list of components of this site does not have ${[...unlisted].join(', ')}`,
    )
  if (!check.ok)
    throw new Refusal('app-invalid', `app ${appName}: ${formatProblems(check.problems)}`)
  const datasets = grantDatasets(kit, datasetsOf(check.config.content), scope)
  // Last: what is refused for another reason has used nothing up.
  if (verdict.ok) await admit(components, { jobId, meta, verdict })

  await mkdir(folder, { recursive: true, mode: 0o700 })
  await extractArchive(opened, join(folder, `app_${kit.name}`))
  await writeFile(join(folder, 'fl_app.txt'), appName)
  const stored: JsonObject = { ...meta, byoc: bringsCode }
  await writeFile(join(folder, 'meta.json'), JSON.stringify(stored, null, 2), { mode: 0o600 })
  return { name: appName, meta: stored, scope, datasets }
}

async function verifySignature(
  { kit, clock }: AppDeploymentComponents,
  files: JobFiles,
  meta: JsonObject,
  submitter: ActingPerson,
): Promise<SignatureVerdict> {
  const verdict = await verifyJob(files, {
    roots: kit.identity.roots,
    now: clock.now(),
    submitter: { name: submitter.name, org: submitter.organization, role: submitter.role },
    meta,
  })
  const mayBeUnsigned =
    kit.settings.requireSignedJobs === false && !kit.hanse.require.signedCommands
  if (verdict.ok || (verdict.code === 'unsigned' && mayBeUnsigned)) return verdict
  throw new Refusal(
    `signature-${verdict.code}`,
    `the job does not pass signature verification: ${verdict.place}: ${verdict.reason}`,
  )
}

async function admit(
  { kit, clock, submissions, verifier }: AppDeploymentComponents,
  app: SubmittedApp,
): Promise<void> {
  const refusal = await admitSubmission(
    { kit, memory: submissions, verifier, now: () => clock.now() },
    app,
  )
  if (refusal !== undefined)
    throw new Refusal(refusal.code, `the submission is not taken: ${refusal.reason}`)
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

function scopeOf({ privacyPolicy }: SiteKit, meta: JsonObject): PrivacyScope | undefined {
  const decision = decideScope(privacyPolicy, textIn(meta, 'scope'))
  if (decision.allowed) return decision.scope
  throw new Refusal(decision.code, decision.reason)
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
  scope: PrivacyScope | undefined,
): Readonly<Record<string, string>> {
  const granted: [string, string][] = []
  for (const name of names) {
    const dataset = kit.datasets.get(name)
    if (dataset === undefined)
      throw new Refusal('dataset-unknown', `this site has no data set '${name}'`)
    // What a job calls its scope means nothing where the site has none.
    if (dataset.scopes?.includes(scope?.name ?? '') === false)
      throw new Refusal(
        'dataset-scope',
        `data set '${name}' is not for jobs of scope '${scope?.name ?? ''}'`,
      )
    granted.push([name, dataset.path])
  }
  return Object.fromEntries(granted)
}

/** What an app was granted, in words. */
export function describeGrant({ meta, scope, datasets }: DeployedApp): string {
  const names = Object.keys(datasets)
  const data = names.length === 0 ? 'no data set' : `data sets ${names.join(', ')}`
  const rules = scope === undefined ? '' : `, privacy scope '${scope.name}'`
  return `${meta['byoc'] === true ? 'code of its own, ' : ''}${data}${rules}`
}
