import type { JsonObject, JsonValue } from '@hanse/contract'
import { COMMAND_STATUS } from '@hanse/session'
import { hasSubmitToken } from '../../jobs/submissions.ts'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { JobProgress, ServerControl } from '../server-control.ts'
import { studyOf, submitTimeOf, summaryOf, textOf } from './job-summary.ts'
import { LIST_JOBS_USAGE, parseListJobs } from './list-jobs-options.ts'
import { submissionFailure, usedTokenFailure } from './submit-token.ts'

const SCOPE = 'job_mgmt'

/** Commands about jobs (`spec/admin.md` §8.1), but for upload and download. */
export function jobCommands(control: ServerControl): readonly AdminCommand[] {
  return [
    {
      scope: SCOPE,
      name: 'list_jobs',
      description: 'list submitted jobs',
      usage: LIST_JOBS_USAGE,
      confirm: 'none',
      kind: 'general',
      rights: ['list_jobs'],
      async run({ session, words, reply }) {
        const options = parseListJobs(words)
        const { submitToken } = options
        const used =
          submitToken === undefined
            ? undefined
            : await control.jobOfToken(submitToken, session.person, session.study)
        if (used?.deletedAt !== undefined) throw usedTokenFailure(used)
        const jobs = (await control.listJobs())
          .filter((job) => studyOf(job) === session.study)
          .filter(
            (job) => !options.ownOnly || textOf(job.meta, 'submitter_name') === session.person.name,
          )
          .filter((job) => submitToken === undefined || job.id === used?.jobId)
          .filter((job) => hasPrefix(job.id, options.idPrefix))
          .filter((job) => hasPrefix(summaryOf(job)['job_name']!, options.namePrefix))
          .toSorted((a, b) => submitTimeOf(a.meta) - submitTimeOf(b.meta))
        if (options.newestFirst) jobs.reverse()
        const { max = jobs.length } = options
        // `-m` means the newest, whatever the order they are shown in.
        const shown = options.newestFirst
          ? jobs.slice(0, max)
          : jobs.slice(Math.max(0, jobs.length - max))
        if (shown.length === 0) {
          const isFiltered = words.some((word) => word !== '' && !/^-[dr]+$/.test(word))
          reply
            .text(isFiltered ? 'No jobs matching the specified criteria.' : 'No jobs found.')
            .success()
            .meta({ jobs: [] })
          return
        }
        if (options.detailed) {
          const metas = shown.map((job) => metaOf(job.meta, studyOf(job)))
          for (const meta of metas) reply.text(JSON.stringify(meta, null, 4))
          reply.text('').success().meta({ jobs: metas })
          return
        }
        const summaries = shown.map((job) => summaryOf(job))
        reply
          .table(
            ['JOB ID', 'NAME', 'STATUS', 'SUBMIT TIME', 'RUN DURATION'],
            summaries.map((s) => [
              s['job_id']!,
              s['job_name']!,
              s['status']!,
              s['submit_time']!,
              s['duration']!,
            ]),
          )
          .success()
          .meta({ jobs: summaries })
      },
    },
    {
      scope: SCOPE,
      name: 'get_job_meta',
      description: 'get meta info of specified job',
      usage: 'get_job_meta job_id',
      confirm: 'none',
      kind: 'job',
      rights: ['get_job_meta'],
      run({ job, reply }) {
        const meta = metaOf(job.meta, studyOf(job))
        reply.dict(meta).ok().meta({ job_meta: meta })
      },
    },
    {
      scope: SCOPE,
      name: 'list_job',
      description: 'list additional components of specified job',
      usage: 'list_job job_id',
      confirm: 'none',
      // Whoever may have the whole result may know the names of its parts.
      kind: 'job',
      rights: ['list_job', 'download_job'],
      async run({ job, reply }) {
        const components = await control.jobComponents(job.id)
        if (components.length > 0) reply.text(components.join(', '))
        reply.success().meta({ job_components: components })
      },
    },
    {
      scope: SCOPE,
      name: 'abort_job',
      description: 'abort a job if it is running or dispatched',
      usage: 'abort_job job_id',
      confirm: 'yesno',
      kind: 'job',
      rights: ['abort_job'],
      async run({ job, session, reply }) {
        const outcome = await control.abortJob(job.id, session.person)
        if (outcome === 'unknown') throw noSuchJob(job.id)
        const text = {
          'not-started': `Aborted the job ${job.id} before running it.`,
          'already-finished': `Job for ${job.id} is already completed.`,
          signalled: 'Abort signal has been sent to the server app.',
        }[outcome]
        reply.text(text).success(text)
      },
    },
    {
      scope: SCOPE,
      name: 'delete_job',
      description: 'delete a job and persisted workspace',
      usage: 'delete_job job_id',
      confirm: 'auth',
      kind: 'job',
      rights: ['delete_job'],
      async run({ job, session, reply }) {
        const outcome = await control.deleteJob(job.id, session.person)
        if (outcome === 'unknown') throw noSuchJob(job.id)
        if (outcome === 'running')
          throw new CommandFailure(
            COMMAND_STATUS.jobRunning,
            `job ${job.id} is running and could not be deleted at this time; abort it first`,
            job.id,
          )
        const marked = hasSubmitToken(job.meta) ? 1 : 0
        reply
          .text(`Job ${job.id} deleted. Submit records marked deleted: ${marked}.`)
          .success()
          .meta({ job_id: job.id, submit_records_marked_deleted: marked })
      },
    },
    {
      scope: SCOPE,
      name: 'clone_job',
      description: 'clone a job with a new job_id',
      usage: 'clone_job job_id',
      confirm: 'yesno',
      kind: 'job',
      rights: ['clone_job'],
      async run({ job, session, reply }) {
        const outcome = await control.cloneJob(job.id, session.person)
        if (!outcome.ok) throw submissionFailure(outcome)
        reply
          .text(`Cloned job ${job.id} as: ${outcome.jobId}`)
          .success()
          .meta({ job_id: outcome.jobId })
      },
    },
    {
      scope: SCOPE,
      name: 'get_job_log',
      description: 'get logs of a job',
      usage: 'get_job_log job_id [server|all|@ALL|site] [log.txt|log.json]',
      confirm: 'none',
      // Stock's categories forget this right; the logs are part of the result that `download_job` gives anyway.
      kind: 'job',
      rights: ['get_job_log', 'download_job'],
      async run({ job, words, reply, signal }) {
        const place = words[1] ?? 'server'
        const places = place === 'all' || place.toUpperCase() === '@ALL' ? undefined : [place]
        const file = words[2] === 'log.json' ? 'log.json' : 'log.txt'
        const { logs, unavailable } = await control.jobLogs(job.id, places, file, { signal })
        reply
          .dict({
            logs: Object.fromEntries([...logs].map(([name, text]) => [name, lastPart(text)])),
            ...(unavailable.size > 0 && { unavailable: Object.fromEntries(unavailable) }),
          })
          .ok()
      },
    },
    {
      scope: 'hanse',
      name: 'hanse.job_progress',
      description: 'how far a job is, round by round',
      usage: 'hanse.job_progress job_id',
      confirm: 'none',
      kind: 'job',
      rights: ['get_job_meta'],
      run({ job, reply }) {
        const progress = control.jobProgress(job.id)
        reply
          .dict({
            job: job.id,
            status: job.state,
            progress: progress === undefined ? null : progressJson(progress),
          })
          .ok()
      },
    },
  ]
}

/** Longest log text of one place that is returned (`spec/jobs.md` §5). */
const MAX_LOG_CHARACTERS = 5_242_880

function lastPart(text: string): string {
  if (text.length <= MAX_LOG_CHARACTERS) return text
  return `... output truncated to last ${MAX_LOG_CHARACTERS} bytes ...\n${text.slice(-MAX_LOG_CHARACTERS)}`
}

function progressJson({ round, totalRounds, sites, metrics }: JobProgress): JsonObject {
  return {
    round,
    totalRounds,
    sites: sites.map(({ name, state }) => ({ name, state })),
    metrics: Object.fromEntries(metrics),
  }
}

function metaOf(meta: JsonObject, study: string): { readonly [key: string]: JsonValue } {
  return { ...meta, study }
}

function hasPrefix(text: string, prefix: string): boolean {
  return text.toLowerCase().startsWith(prefix.toLowerCase())
}

/** The answer about a job that is not there, or not for this session. */
export function noSuchJob(id: string): CommandFailure {
  return new CommandFailure(COMMAND_STATUS.invalidJobId, `no such job: ${id}`, id)
}
