import type { JsonObject } from '@hanse/contract'
import { COMMAND, COMMAND_STATUS } from '@hanse/session'
import type { AdminCommand } from '../admin-command.ts'
import { CommandFailure } from '../reply-builder.ts'
import type { PrivacyScopes, ServerControl, SiteAnswer } from '../server-control.ts'
import { readLogLevel } from './log-level.ts'
import { namesOf, readTargets } from './targets.ts'

/** Commands that stop, restart and adjust the places of a league (`spec/admin.md` §8.2). */
export function systemCommands(control: ServerControl): readonly AdminCommand[] {
  return [
    {
      scope: 'training',
      name: 'shutdown',
      description: 'stop the server, sites, or all of them',
      usage: 'shutdown server | client <name> ... | all',
      confirm: 'auth',
      kind: 'general',
      rights: ['shutdown'],
      async run({ words, session, reply, signal }) {
        const targets = readTargets(control, words)
        refuseWhileJobsRun(control)
        const isConnected = control.sites().some(({ connected }) => connected)
        if (targets.sites === undefined && isConnected)
          throw new CommandFailure(
            COMMAND_STATUS.clientsRunning,
            'There are still active clients. Shutdown all clients first.',
          )
        const question = { topic: COMMAND.shutdown, right: 'shutdown' }
        const names = namesOf(targets)
        const answers = await control.askSites(names, question, session.person, { signal })
        if (answers.size > 0) reply.table(['CLIENT', 'RESPONSE'], rowsOf(answers))
        // A server without those that refused would be no answer to them.
        if ([...answers.values()].some(({ ok }) => !ok))
          throw new CommandFailure(
            COMMAND_STATUS.error,
            `failed to shut down all clients: ${refusalsIn(answers)}`,
          )
        reply.success()
        if (!targets.server) return
        control.end('stop')
        reply.text('Flare Server has been shutdown.').shutdown('Goodbye!')
      },
    },
    {
      scope: 'training',
      name: 'restart',
      description: 'restart the server, sites, or all of them',
      usage: 'restart server | client <name> ... | all',
      confirm: 'auth',
      kind: 'general',
      rights: ['restart'],
      async run({ words, session, reply, signal }) {
        const targets = readTargets(control, words)
        refuseWhileJobsRun(control)
        const question = { topic: COMMAND.restart, right: 'restart' }
        const names = namesOf(targets)
        const answers = await control.askSites(names, question, session.person, { signal })
        if (answers.size > 0)
          reply
            .text(Array.from(answers, ([name, { text }]) => `client:${name} : ${text}`).join('\n'))
            .meta({ client_status: textsOf(answers) })
        reply.success()
        if (!targets.server) return
        control.end('restart')
        reply.text('Server scheduled for restart').meta({ server_status: 'ok' })
      },
    },
    {
      scope: 'sys',
      name: 'configure_site_log',
      description: 'change how much the server and sites log',
      usage: 'configure_site_log server | client <name> ... | all <level>',
      confirm: 'none',
      kind: 'general',
      rights: ['configure_site_log'],
      async run({ words, session, reply, signal }) {
        const config = words.at(-1) ?? ''
        const targets = readTargets(control, siteTargets(words.slice(0, -1)))
        const level = targets.server ? readLogLevel(config) : undefined
        const question = {
          topic: COMMAND.configureSiteLog,
          right: 'configure_site_log',
          body: config,
        }
        const names = namesOf(targets)
        const answers = await control.askSites(names, question, session.person, { signal })
        if (level !== undefined) {
          if (!control.setLogLevel(level === 'reload' ? undefined : level))
            throw new CommandFailure(
              COMMAND_STATUS.error,
              "the server's log has a fixed level; change it where the server is started",
            )
          reply.text('successfully configured server site log')
        }
        if (answers.size > 0) reply.table(['CLIENT', 'RESPONSE'], rowsOf(answers))
        const refusals = refusalsIn(answers)
        if (refusals !== '') throw new CommandFailure(COMMAND_STATUS.error, refusals)
        reply.ok()
      },
    },
    {
      scope: 'sys',
      name: 'report_env',
      description: 'show the environment of sites',
      usage: 'report_env [<name> ...]',
      confirm: 'none',
      kind: 'general',
      rights: ['report_env'],
      async run({ words, session, reply, signal }) {
        const targets = readTargets(control, ['client', ...words])
        const question = { topic: COMMAND.reportEnvironment, right: 'report_env' }
        const names = namesOf(targets)
        const answers = await control.askSites(names, question, session.person, { signal })
        reply
          .table(['SITES', 'ENV'], rowsOf(answers))
          .ok()
          .meta({ clients: Array.from(answers, ([name, answer]) => environmentOf(name, answer)) })
      },
    },
    {
      scope: 'training',
      name: 'show_scopes',
      description: 'show the privacy scopes of server and sites',
      usage: 'show_scopes server | client <name> ... | all',
      confirm: 'none',
      kind: 'general',
      rights: ['show_scopes'],
      async run({ words, session, reply, signal }) {
        const targets = readTargets(control, words)
        const question = { topic: COMMAND.getScopes, right: 'show_scopes' }
        const names = namesOf(targets)
        const answers = await control.askSites(names, question, session.person, { signal })
        const places = [
          ...(targets.server ? [{ place: 'server', ...control.privacyScopes() }] : []),
          ...Array.from(answers, ([name, answer]) => ({ place: name, ...scopesOf(answer) })),
        ]
        reply
          .table(
            ['SITE', 'SCOPES', 'DEFAULT'],
            places.map(({ place, names, usual, ...answer }) => [
              place,
              names.join(', '),
              'error' in answer ? answer.error : usual,
            ]),
          )
          .ok()
          // For our own tool: names may hold commas.
          .meta({
            scopes: places.map(({ usual, names, ...place }) => ({
              ...place,
              scopes: [...names],
              default: usual,
            })),
          })
      },
    },
  ]
}

/** Stock's tool leaves `client` out when it names one site. */
function siteTargets(words: readonly string[]): readonly string[] {
  const [kind = ''] = words
  return ['server', 'client', 'all', ''].includes(kind) ? words : ['client', ...words]
}

/** @throws {CommandFailure} `job_running` */
function refuseWhileJobsRun(control: ServerControl): void {
  const [job] = control.status().runningJobs
  if (job === undefined) return
  throw new CommandFailure(
    COMMAND_STATUS.jobRunning,
    'There are still jobs running. Please let them finish or abort_job before this.',
    job.id,
  )
}

function rowsOf(answers: ReadonlyMap<string, SiteAnswer>): string[][] {
  return Array.from(answers, ([name, { text }]) => [name, text])
}

function textsOf(answers: ReadonlyMap<string, SiteAnswer>): JsonObject {
  return Object.fromEntries(Array.from(answers, ([name, { text }]) => [name, text]))
}

/** Each refusal with its reason; empty if there are none. */
function refusalsIn(answers: ReadonlyMap<string, SiteAnswer>): string {
  return Array.from(answers, ([name, { ok, text }]) => (ok ? [] : [`${name}: ${text}`]))
    .flat()
    .join('; ')
}

function environmentOf(name: string, { ok, text }: SiteAnswer): JsonObject {
  return ok
    ? { site_name: name, ...(jsonObjectIn(text) ?? { error: 'the answer cannot be read' }) }
    : { site_name: name, error: text }
}

function scopesOf({ ok, text }: SiteAnswer): PrivacyScopes & { readonly error?: string } {
  if (!ok) return { names: [], usual: '', error: text }
  const { scope_names, default_scope } = jsonObjectIn(text) ?? {}
  return {
    names: Array.isArray(scope_names) ? scope_names.map(String) : [],
    usual: typeof default_scope === 'string' ? default_scope : '',
  }
}

/** A site's JSON text; `undefined` for anything else. */
export function jsonObjectIn(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as JsonObject) // parsed from JSON: an object has JSON members
      : undefined
  } catch {
    return undefined
  }
}
