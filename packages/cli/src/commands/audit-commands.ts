import type { AuditEntry } from '@hanse/audit'
import { buildCommand, buildRouteMap, type Command, type RouteMap } from '@stricli/core'
import { EXIT } from '../cli-error.ts'
import { type HanseContext, type OutputFlags, perform, recordFile } from '../hanse-context.ts'
import { textTable } from '../output/text-table.ts'
import { jsonFlag, kitParameter } from './flags.ts'

interface ShowFlags extends OutputFlags {
  readonly job?: string
  readonly actor?: string
  readonly act?: string
  readonly refused?: boolean
}

const filterFlag = (brief: string, placeholder: string) =>
  ({ kind: 'parsed', brief, placeholder, parse: String, optional: true }) as const

const show: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Show the record of a server or site',
    fullDescription: 'Does not check the record; hanse audit verify does.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [kitParameter] },
    flags: {
      job: filterFlag('Only entries about this job', 'job'),
      actor: filterFlag('Only what this person, site or job did', 'name'),
      act: filterFlag('Only acts of this kind, e.g. submit_job', 'act'),
      refused: {
        kind: 'boolean',
        brief: 'Only what was refused',
        optional: true,
        withNegated: false,
      },
      json: jsonFlag,
    },
  },
  func(this: HanseContext, flags: ShowFlags, kit: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const { readAuditLog } = await import('@hanse/audit')
      const entries: AuditEntry[] = []
      const filter = {
        job: flags.job,
        actor: flags.actor,
        act: flags.act,
        outcome: flags.refused === true ? ('refused' as const) : undefined,
      }
      for await (const entry of readAuditLog(recordFile(host, kit), filter, {
        signal: host.signal,
      }))
        entries.push(entry)
      return {
        json: { entries: entries.map((entry) => ({ ...entry, actor: { ...entry.actor } })) },
        text: entries.length === 0 ? 'no entries' : entryTable(entries),
      }
    })
  },
})

const verify: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Check that nobody changed the record of a server or site',
    fullDescription:
      'Checks every entry and every link to the one before. Compare the head that it prints with one that you noted ' +
      'earlier: entries cut off at the end leave no other trace. Ends with 1 and the place of the first entry that ' +
      'does not fit.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [kitParameter] },
    flags: { json: jsonFlag },
  },
  func(this: HanseContext, flags: OutputFlags, kit: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const { verifyAuditLog } = await import('@hanse/audit')
      const verdict = await verifyAuditLog(recordFile(host, kit), { signal: host.signal })
      const { head } = verdict
      if (verdict.ok)
        return {
          json: { ok: true, entries: verdict.entries, head: { ...head } },
          text: `${verdict.entries} entries, all in place; head ${head.seq} ${head.hash}`,
        }
      const { line, seq, offset, code, why } = verdict
      return {
        json: { ok: false, line, seq, offset, code, why, head: { ...head } },
        text: `the record does not hold at entry ${seq} (octet ${offset}): ${why}\nthe last entry that holds is ${head.seq} ${head.hash}`,
        exitCode: EXIT.failed,
      }
    })
  },
})

/** `hanse audit …` */
export const auditRoutes: RouteMap<HanseContext> = buildRouteMap({
  routes: { show, verify },
  docs: { brief: 'Read and check the record of a place' },
})

function entryTable(entries: readonly AuditEntry[]): string {
  return textTable(
    ['entry', 'time', 'who', 'what', 'outcome', 'about', 'why'],
    entries.map(({ seq, time, actor, act, outcome, job, target, code, text }) => [
      String(seq),
      time,
      actor.name,
      act,
      outcome,
      job ?? target ?? '',
      text === '' ? code : text,
    ]),
  )
}
