import type { Cell, CellReply, CellRequest } from '@hanse/cellnet'
import type { AbortOptions } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { handleAux, outcome, type PublicProperties } from '../aux-messages/aux-messages.ts'
import { FLContext } from '../messages/fl-context.ts'
import { Shareable } from '../messages/shareable.ts'
import { CHANNEL } from '../names.ts'
import { participantLookup } from './participant-lookup.ts'
import { END_OF_RUN, TASK_TOPIC, TRY_AGAIN } from './task-names.ts'

/** What a polling site gets. */
export type TaskOffer =
  | {
      readonly kind: 'task'
      readonly id: string
      readonly name: string
      /** Shared by all sites of a broadcast: not changed here. */
      readonly data: Shareable
      readonly cookies: ReadonlyMap<string, FobsValue>
      readonly rootId: string
      /** Seconds; 0 for none. */
      readonly timeoutSeconds: number
      readonly operator?: ReadonlyMap<string, FobsValue> | undefined
    }
  | { readonly kind: 'nothing-yet' }
  | { readonly kind: 'end' }

/** What the server's job offers to its sites. */
export interface TaskSource {
  /** The next task of `site`, waiting up to `holdMs` for one. */
  next(site: string, options: AbortOptions & { readonly holdMs: number }): Promise<TaskOffer>
  isStanding(taskId: string): boolean
  /** Takes a result whole, or drops it by the rules of `spec/session.md` §7.3. */
  submit(site: string, taskId: string, taskName: string, result: Shareable): Promise<void>
  /** Any message of a participant; it lives. */
  onSign(site: string): void
}

export interface TaskServiceOptions {
  readonly jobId: string
  /** Cells of the participants by site name. */
  readonly participants: ReadonlyMap<string, string>
  readonly ownProperties: PublicProperties
  /** Seconds that a site is told to wait before it asks again. */
  readonly waitSeconds: number
  /**
   * How long a request for a task is held while there is none: sites get a task the moment it is posted. Shorter
   * than any stock time-out of that request.
   */
  readonly holdMs: number
}

/** Serves the task exchange on the cell of a server's job (`spec/session.md` §6.7–6.12). */
export function serveTasks(cell: Cell, source: TaskSource, options: TaskServiceOptions): void {
  const { jobId, ownProperties } = options

  const participantOf = participantLookup(jobId, options.participants)

  function asParticipant(
    serve: (
      site: string,
      body: Shareable,
      request: CellRequest,
      options: AbortOptions,
    ) => Promise<CellReply>,
  ) {
    return async (
      request: CellRequest,
      abort: { readonly signal: AbortSignal },
    ): Promise<CellReply> => {
      const site = participantOf(request.origin)
      if (site === undefined)
        return {
          returnCode: 'authentication_error',
          error: `${request.origin} takes no part in job ${jobId}`,
        }
      if (!(request.body instanceof Shareable))
        return { returnCode: 'invalid_request', error: 'a Shareable was expected' }
      source.onSign(site)
      return serve(site, request.body, request, abort)
    }
  }

  cell.handle(
    CHANNEL.serverCommand,
    TASK_TOPIC.get,
    asParticipant(async (site, body, _request, abort) => {
      const run = runOf(body)
      if (run === undefined) return { body: emptyAnswer(TRY_AGAIN, options) }
      if (run !== jobId) return { body: emptyAnswer(END_OF_RUN, options) }
      const offer = await source.next(site, { ...abort, holdMs: options.holdMs })
      switch (offer.kind) {
        case 'end':
          return { body: emptyAnswer(END_OF_RUN, options) }
        case 'nothing-yet':
          return { body: emptyAnswer(TRY_AGAIN, options) }
        case 'task':
          return {
            body: taskAnswer(offer, options),
            headers: { cn__msg_root_id: offer.rootId, cn__msg_root_ttl: offer.timeoutSeconds },
          }
        default:
          return offer satisfies never
      }
    }),
  )

  cell.handle(
    CHANNEL.serverCommand,
    TASK_TOPIC.submit,
    asParticipant(async (site, result) => {
      const taskId = result.mapHeader('__cookie_jar__')?.get('__task_id__')
      const taskName = result.textHeader('__task_name__')
      // Answered with ok all the same, as stock does: an error would make the site send it again.
      if (runOf(result) === jobId && typeof taskId === 'string' && taskName !== undefined)
        await source.submit(site, taskId, taskName, result)
      return { body: '' }
    }),
  )

  const aux = (topic: string, answer: (body: Shareable) => Shareable | undefined) =>
    handleAux(cell, topic, ownProperties, ({ origin, body }) => {
      const site = participantOf(origin)
      if (site === undefined) return outcome('unauthenticated')
      source.onSign(site)
      return answer(body)
    })

  aux(TASK_TOPIC.sync, () => outcome('OK'))
  aux(TASK_TOPIC.jobHeartbeat, () => undefined)
  aux(TASK_TOPIC.check, (body) => {
    const taskId = body.textHeader('__task_id__')
    if (taskId === undefined) return outcome('BAD_REQUEST_DATA')
    return outcome(source.isStanding(taskId) ? 'OK' : 'TASK_UNKNOWN')
  })
}

/** The job that a message claims to belong to. */
function runOf(body: Shareable): string | undefined {
  const context = body.headers.get('__peer_ctx__')
  const run = context instanceof FLContext ? context.publicProperty('__run_num__') : undefined
  return typeof run === 'string' ? run : undefined
}

/** A reply without a task; a stock site needs the peer context in it too. */
function emptyAnswer(name: string, { ownProperties, waitSeconds }: TaskServiceOptions): Shareable {
  const reply = new Shareable()
  reply.headers.set('task_name', name)
  reply.headers.set('__task_id__', '')
  reply.headers.set('__cookie_jar__', new Map([['__task_id__', '']]))
  if (name === TRY_AGAIN) reply.headers.set('__wait_time__', waitSeconds)
  reply.headers.set('__peer_ctx__', FLContext.ofPublic(ownProperties))
  return reply
}

function taskAnswer(
  offer: Extract<TaskOffer, { kind: 'task' }>,
  { ownProperties, waitSeconds }: TaskServiceOptions,
): Shareable {
  const reply = new Shareable()
  for (const [key, value] of offer.data.headers) reply.headers.set(key, value)
  for (const [key, value] of offer.data.content) reply.content.set(key, value)
  if (offer.operator !== undefined) reply.headers.set('__task_operator__', new Map(offer.operator))
  reply.headers.set('__task_id__', offer.id)
  reply.headers.set('__msg_root_id__', offer.rootId)
  reply.headers.set('__msg_root_ttl__', offer.timeoutSeconds)
  reply.headers.set('__task_name__', offer.name)
  reply.headers.set('task_name', offer.name)
  reply.headers.set(
    '__cookie_jar__',
    new Map<string, FobsValue>([...offer.cookies, ['__task_id__', offer.id]]),
  )
  reply.headers.set('__audit_event_id__', '')
  reply.headers.set('__wait_time__', waitSeconds)
  reply.headers.set('__peer_ctx__', FLContext.ofPublic(ownProperties))
  return reply
}
