import type { JsonObject, JsonValue, StoredJob } from '@hanse/contract'
import { COMMAND, COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { JobReport, ServerControl } from '../server-control.ts'
import { readLogLevel } from './log-level.ts'
import { jsonObjectIn } from './system-commands.ts'
import { namesOf, readTargets, type Targets } from './targets.ts'

/** Commands about what a running job does, at the server and its sites (`spec/admin.md` §8). */
export function infoCommands(control: ServerControl): readonly AdminCommand[] {
  const collecting = (
    name: string,
    description: string,
    topic: string,
    ofServer: (report: JobReport, job: StoredJob) => JsonObject,
  ): AdminCommand => ({
    scope: 'info',
    name,
    description,
    usage: `${name} job_id server | client <name> ... | all`,
    confirm: 'none',
    kind: 'job',
    rights: [name],
    async run({ job, words, session, reply, signal }) {
      const targets = targetsInJob(control, job.id, words.slice(1))
      const report = await control.jobReport(job.id, { signal })
      if (report === undefined) throw notRunning(job.id)
      const question = { topic, right: name, job }
      const answers = await control.askSites(namesOf(targets), question, session.person, { signal })
      const collected = new Map<string, JsonValue>()
      if (targets.server) collected.set('server', ofServer(report, job))
      for (const [site, { ok, text }] of answers)
        collected.set(site, ok ? (jsonObjectIn(text) ?? 'invalid_reply') : text)
      reply.dict(Object.fromEntries(collected)).ok()
    },
  })
  return [
    collecting(
      'show_stats',
      'show how far a running job is, at the server and its sites',
      COMMAND.showStats,
      ({ stats }) => ({ ServerRunner: stats }),
    ),
    collecting(
      'show_errors',
      'show the latest warnings and errors of a running job',
      COMMAND.showErrors,
      ({ problems }) => errorsOf(problems),
    ),
    collecting(
      'reset_errors',
      'forget the warnings and errors of a running job so far',
      COMMAND.resetErrors,
      (_report, job) => {
        control.resetProblems(job.id)
        return { status: 'OK' }
      },
    ),
    {
      scope: 'job_mgmt',
      name: 'configure_job_log',
      description: 'change how much a running job logs',
      usage: 'configure_job_log job_id server | client <name> ... | all <level>',
      confirm: 'none',
      kind: 'job',
      rights: ['configure_job_log'],
      async run({ job, words, session, reply, signal }) {
        const config = words.at(-1) ?? ''
        const targets = targetsInJob(control, job.id, words.slice(1, -1))
        const level = targets.server ? readLogLevel(config) : undefined
        if (level === 'reload')
          throw new CommandFailure(
            COMMAND_STATUS.syntaxError,
            'a job has no file that its level could be reloaded from: give DEBUG, INFO, WARNING or ERROR',
          )
        if (level !== undefined && !control.setJobLogLevel(job.id, level)) throw notRunning(job.id)
        if (level !== undefined) reply.text('successfully configured server job log')
        const question = {
          topic: COMMAND.configureJobLog,
          right: 'configure_job_log',
          body: config,
          job,
        }
        const answers = await control.askSites(namesOf(targets), question, session.person, {
          signal,
        })
        if (answers.size > 0)
          reply.table(
            ['CLIENT', 'RESPONSE'],
            Array.from(answers, ([name, { text }]) => [name, text]),
          )
        const refusals = Array.from(answers).filter(([, { ok }]) => !ok)
        if (refusals.length > 0)
          throw new CommandFailure(
            COMMAND_STATUS.error,
            refusals.map(([name, { text }]) => `${name}: ${text}`).join('\n'),
          )
        reply.ok()
      },
    },
  ]
}

/** Of sites only those that take part: the others know nothing of it. @throws {CommandFailure} */
function targetsInJob(control: ServerControl, job: string, words: readonly string[]): Targets {
  const targets = readTargets(control, words)
  const members = new Set(control.jobSites(job))
  return { ...targets, sites: targets.sites?.filter(({ name }) => members.has(name)) }
}

/** In stock's shape: by who reported it, then by kind. */
function errorsOf(problems: JobReport['problems']): JsonObject {
  const ofLevel = (wanted: 'warn' | 'error') =>
    problems
      .filter(({ level }) => level === wanted)
      .map(({ time, message }) => `${time} ${message}`)
  const error = ofLevel('error')
  const warning = ofLevel('warn')
  if (error.length === 0 && warning.length === 0) return {}
  return {
    ServerRunner: {
      ...(error.length > 0 && { error }),
      ...(warning.length > 0 && { warning }),
    },
  }
}

function notRunning(job: string): CommandFailure {
  return new CommandFailure(COMMAND_STATUS.jobNotRunning, `Job_id: ${job} is not running.`, job)
}
