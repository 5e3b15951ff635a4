import { type Clock, type Logger, messageOf } from '@hanse/contract'
import type { AuditEvent } from './audit-entry.ts'
import type { AuditLog } from './audit-log.ts'

export interface RefusalRecorderComponents {
  readonly log: AuditLog
  readonly clock: Clock
  readonly logger: Logger
}

export interface RefusalRecorderOptions {
  /** How long repeats of one refusal are only counted. Default 60 s. */
  readonly foldMs?: number
  /** Different refusals that are counted at the same time; past it the rest is counted together. Default 256. */
  readonly maxKinds?: number
}

const OVERFLOW: AuditEvent = {
  actor: { name: 'unknown' },
  act: 'message',
  outcome: 'refused',
  code: 'too-many-kinds',
  text: 'more kinds of refused messages than are told apart',
}

/**
 * Records refusals that a peer can cause as often as it likes: the first of a kind at once, repeats within a while
 * as one entry with their number. A flood fills neither the disk nor the queue.
 */
export function createRefusalRecorder(
  { log, clock, logger }: RefusalRecorderComponents,
  { foldMs = 60_000, maxKinds = 256 }: RefusalRecorderOptions = {},
): (event: AuditEvent) => void {
  const folding = new Map<string, { readonly event: AuditEvent; repeats: number }>()

  function append(event: AuditEvent): void {
    log
      .append(event)
      .catch((error: unknown) =>
        logger.error('refusal not recorded', { act: event.act, reason: messageOf(error) }),
      )
  }

  function begin(key: string, event: AuditEvent): void {
    append(event)
    const entry = { event, repeats: 0 }
    folding.set(key, entry)
    clock.setTimer(foldMs, () => {
      folding.delete(key)
      if (entry.repeats > 0)
        append({
          ...event,
          facts: { ...event.facts, repeats: entry.repeats, seconds: foldMs / 1000 },
        })
    })
  }

  return (event) => {
    const full = folding.size >= maxKinds
    const exact = keyOf(event)
    const [key, kept] = full && !folding.has(exact) ? [keyOf(OVERFLOW), OVERFLOW] : [exact, event]
    const entry = folding.get(key)
    if (entry === undefined) begin(key, kept)
    else entry.repeats += 1
  }
}

function keyOf({ actor, act, target, job, code, text }: AuditEvent): string {
  return JSON.stringify([actor.name, act, target, job, code, text])
}
