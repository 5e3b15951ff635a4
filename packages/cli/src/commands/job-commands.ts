import type { AdminSession, JobObservation } from '@hanse/admin'
import type { JsonObject, JsonValue } from '@hanse/contract'
import { buildCommand, buildRouteMap, type Command, type RouteMap } from '@stricli/core'
import { CliError, EXIT } from '../cli-error.ts'
import {
  type CommandResult,
  type HanseContext,
  type PersonFlags,
  pathOf,
  perform,
  withSession,
} from '../hanse-context.ts'
import { ProgressDisplay } from '../output/progress-display.ts'
import { jobParameter, parseSeconds, personFlags } from './flags.ts'
import { jobTable } from './status-command.ts'

const COMPLETED = 'FINISHED:COMPLETED'

/** A command about one job, given by its id. */
function jobCommand(
  brief: string,
  work: (session: AdminSession, job: string, context: HanseContext) => Promise<CommandResult>,
): Command<HanseContext> {
  return buildCommand({
    docs: { brief },
    parameters: {
      positional: { kind: 'tuple', parameters: [jobParameter] },
      flags: personFlags,
    },
    func(this: HanseContext, flags: PersonFlags, job: string) {
      return perform(this, flags, () =>
        withSession(this, flags, (session) => work(session, job, this)),
      )
    },
  })
}

const submit: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Sign a copy of a job folder and submit it',
    fullDescription:
      'The folder itself is only read. It must hold plain files and folders; symbolic links are refused.',
  },
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'Folder of the job, with its meta.json', placeholder: 'folder', parse: String },
      ],
    },
    flags: personFlags,
  },
  func(this: HanseContext, flags: PersonFlags, folder: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const job = await withSession(this, flags, (session) =>
        session.submit(pathOf(host, folder), { signal: host.signal }),
      )
      return { json: { job }, text: job }
    })
  },
})

interface WaitFlags extends PersonFlags {
  readonly timeout?: number
}

const wait: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Wait until a job has ended, and show how far it is',
    fullDescription:
      'Ends with 0 if the job completed, with 1 for any other end or when the time is over.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [jobParameter] },
    flags: {
      timeout: {
        kind: 'parsed',
        brief: 'Seconds to wait at most; default is for ever',
        placeholder: 'seconds',
        parse: parseSeconds,
        optional: true,
      },
      ...personFlags,
    },
  },
  func(this: HanseContext, flags: WaitFlags, job: string) {
    const { host } = this
    return perform(this, flags, () =>
      withSession(this, flags, async (session) => {
        const { signal, timeout } = waitSignal(host.signal, flags.timeout)
        const display = new ProgressDisplay(host.stderr)
        let last: JobObservation | undefined
        try {
          const { status } = await session.wait(job, {
            signal,
            onProgress(observation) {
              last = observation
              if (flags.json !== true) display.show(observation)
            },
          })
          display.end()
          const reason = status === COMPLETED ? '' : `: ${await reasonOf(session, job)}`
          return {
            json: { job, status },
            text: `${job} ${status}${reason}`,
            exitCode: status === COMPLETED ? EXIT.done : EXIT.failed,
          }
        } catch (error) {
          display.end()
          if (!timeout?.aborted || host.signal.aborted) throw error
          const status = last?.status ?? 'unknown'
          throw new CliError(
            'ERR_TIMEOUT',
            `job ${job} is ${status} after ${flags.timeout} s`,
            'it goes on; wait again, or end it with hanse job abort',
          )
        }
      }),
    )
  },
})

const list: Command<HanseContext> = buildCommand({
  docs: { brief: 'List jobs, oldest first' },
  parameters: { flags: personFlags },
  func(this: HanseContext, flags: PersonFlags) {
    return perform(this, flags, async () => {
      const jobs = await withSession(this, flags, (session) =>
        session.list({ signal: this.host.signal }),
      )
      return { json: { jobs: jobs.map((job) => ({ ...job })) }, text: jobTable(jobs) }
    })
  },
})

const show = jobCommand('Show what the server knows of a job', async (session, job) => {
  const { meta, status } = await session.show(job)
  const shown: JsonObject = needsReason(status) ? { ...meta, reason: reasonIn(meta) } : meta
  const text = Object.entries(shown).map(([key, value]) => `${key}: ${valueText(value)}`)
  return { json: shown, text: text.join('\n') }
})

interface LogsFlags extends PersonFlags {
  readonly place: string
}

const logs: Command<HanseContext> = buildCommand({
  docs: { brief: 'Show the logs of a job' },
  parameters: {
    positional: { kind: 'tuple', parameters: [jobParameter] },
    flags: {
      place: {
        kind: 'parsed',
        brief: 'server, the name of a site, or all',
        placeholder: 'place',
        parse: String,
        default: 'all',
      },
      ...personFlags,
    },
  },
  func(this: HanseContext, flags: LogsFlags, job: string) {
    return perform(this, flags, () =>
      withSession(this, flags, async (session) => {
        const found = await session.logs(job, flags.place, { signal: this.host.signal })
        const parts = [
          ...Object.entries(found.logs).map(([place, text]) => `── ${place}\n${text.trimEnd()}`),
          ...Object.entries(found.unavailable).map(([place, why]) => `── ${place}: ${why}`),
        ]
        return {
          json: { job, logs: found.logs, unavailable: found.unavailable },
          text: parts.length === 0 ? 'no logs yet' : parts.join('\n\n'),
        }
      }),
    )
  },
})

const abort = jobCommand('End a job', async (session, job) => {
  const { message } = await session.abort(job)
  return { json: { job, message }, text: message }
})

const remove = jobCommand('Delete a job and its result from the server', async (session, job) => {
  await session.delete(job)
  return { json: { job, deleted: true }, text: `deleted ${job}` }
})

const clone = jobCommand('Submit a job again, as a new one', async (session, job) => {
  const created = await session.clone(job)
  return { json: { job: created }, text: created }
})

interface DownloadFlags extends PersonFlags {
  readonly out: string
}

const download: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Download the result of a job that has ended',
    fullDescription:
      'Makes a folder named after the job, with job/, meta.json and workspace/ in it.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [jobParameter] },
    flags: {
      out: {
        kind: 'parsed',
        brief: 'Folder that gets the result',
        placeholder: 'dir',
        parse: String,
        default: '.',
      },
      ...personFlags,
    },
  },
  func(this: HanseContext, flags: DownloadFlags, job: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const folder = await withSession(this, flags, (session) =>
        session.download(job, pathOf(host, flags.out), { signal: host.signal }),
      )
      return { json: { job, folder }, text: folder }
    })
  },
})

/** `hanse job …` */
export const jobRoutes: RouteMap<HanseContext> = buildRouteMap({
  routes: { submit, wait, list, show, logs, abort, delete: remove, clone, download },
  docs: { brief: 'Submit, watch and end jobs, and fetch their results' },
})

function waitSignal(
  interrupted: AbortSignal,
  seconds: number | undefined,
): { readonly signal: AbortSignal; readonly timeout: AbortSignal | undefined } {
  if (seconds === undefined) return { signal: interrupted, timeout: undefined }
  const timeout = AbortSignal.timeout(seconds * 1000)
  return { signal: AbortSignal.any([interrupted, timeout]), timeout }
}

async function reasonOf(session: AdminSession, job: string): Promise<string> {
  return reasonIn((await session.show(job)).meta)
}

function needsReason(status: string): boolean {
  return status.startsWith('FINISHED') && status !== COMPLETED
}

/** Who failed, where, with what words; a stock server has only the last word of its schedule. */
function reasonIn(meta: JsonObject): string {
  const { reason, schedule_history } = meta as {
    readonly reason?: JsonValue
    readonly schedule_history?: JsonValue
  }
  if (typeof reason === 'string' && reason !== '') return reason
  const last = Array.isArray(schedule_history) ? schedule_history.at(-1) : undefined
  return typeof last === 'string' ? last : 'the server gave no reason; see hanse job logs'
}

function valueText(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
