import type { Shareable } from '@hanse/session'
import { LearningError } from '../learning-error.ts'
import type { TaskOutcome, TaskSpec, TaskStatus } from './task.ts'

/** One task for one site: session.md's "client task". */
export interface Delivery {
  /** The wire's task id. */
  readonly id: string
  readonly site: string
  readonly task: TaskState
  readonly data: Shareable
  /** Which entry of the targets it serves. */
  readonly index: number
  readonly sentAt: number
  state: 'sent' | 'handling' | 'answered'
  /** A relay has stopped waiting for it. */
  skipped: boolean
}

/** What a task says to a site that asks: a delivery it has, a new one, none of this task, or none at all. */
export type Verdict = Delivery | 'send' | 'no' | 'block'

/** A task on the board with all that happened to it; pure, time is passed in (session.md §7.2). */
export class TaskState {
  readonly spec: TaskSpec
  readonly workflow: string
  /** Groups what was made for this task, so that it can be let go together. */
  readonly rootId: string
  readonly postedAt: number
  readonly done: Promise<TaskOutcome>
  readonly #resolve: (outcome: TaskOutcome) => void
  readonly #targets: string[]
  /** The same without order: asked for every waiting site whenever anything happens. */
  readonly #isTarget: Set<string>
  /** The last delivery per site. */
  readonly #latest = new Map<string, Delivery>()
  /** All deliveries that are not forgotten, in the order of sending. */
  readonly #deliveries: Delivery[] = []
  readonly #answeredSites: string[] = []
  readonly #answeredSet = new Set<string>()
  #minReachedAt: number | undefined
  /** Relays: the entry served last, and since when nothing is under way. */
  #lastIndex = -1
  #idleSince: number
  #finished = false

  constructor(spec: TaskSpec, workflow: string, rootId: string, now: number) {
    if (spec.name === '') throw new LearningError('ERR_TASK', 'a task needs a name')
    const { distribution } = spec
    if (
      spec.targets.length === 0 &&
      !(distribution.kind === 'relay' && distribution.dynamicTargets)
    )
      throw new LearningError('ERR_TASK', `task ${spec.name} has no targets`)
    if (distribution.kind !== 'relay' && new Set(spec.targets).size !== spec.targets.length)
      throw new LearningError('ERR_TASK', `task ${spec.name} names a target twice`)
    this.spec = spec
    this.workflow = workflow
    this.rootId = rootId
    this.postedAt = now
    this.#idleSince = now
    this.#targets = [...spec.targets]
    this.#isTarget = new Set(spec.targets)
    const { promise, resolve } = Promise.withResolvers<TaskOutcome>()
    this.done = promise
    this.#resolve = resolve
  }

  get isDone(): boolean {
    return this.#finished
  }

  get deliveries(): readonly Delivery[] {
    return this.#deliveries
  }

  /** What `site` gets of this task at `now`. */
  ask(site: string, now: number): Verdict {
    const latest = this.#latest.get(site)
    if (latest !== undefined && latest.state === 'sent' && !latest.skipped) return latest
    const { distribution } = this.spec
    const isTarget = this.#isTarget.has(site)
    switch (distribution.kind) {
      case 'broadcast':
        return isTarget && latest === undefined ? 'send' : 'no'
      case 'broadcast-forever':
        return isTarget && latest?.state !== 'handling' ? 'send' : 'no'
      case 'send': {
        if (!isTarget || this.#deliveries.length > 0) return 'no'
        if (distribution.order === 'any') return 'send'
        return this.#targets.indexOf(site) <= steps(now - this.postedAt, distribution.assignmentMs)
          ? 'send'
          : 'block'
      }
      case 'relay': {
        if (!isTarget) {
          if (!distribution.dynamicTargets) return 'no'
          this.#targets.push(site)
          this.#isTarget.add(site)
        }
        this.#skipOverdue(now)
        if (this.#pending() !== undefined) return 'block'
        if (distribution.order === 'any') return this.#isOwed(site) ? 'send' : 'no'
        return this.#indexInWindow(site, now) === undefined ? 'no' : 'send'
      }
      default:
        return distribution satisfies never
    }
  }

  /** Records that `site` gets the task; `ask` said `send` in the same turn. */
  deliver(site: string, id: string, now: number): Delivery {
    const { data, distribution } = this.spec
    const index =
      distribution.kind === 'relay' && distribution.order === 'sequential'
        ? (this.#indexInWindow(site, now) ?? this.#targets.indexOf(site))
        : this.#targets.indexOf(site)
    const delivery: Delivery = {
      id,
      site,
      task: this,
      data: typeof data === 'function' ? data(site) : data,
      index,
      sentAt: now,
      state: 'sent',
      skipped: false,
    }
    this.#latest.set(site, delivery)
    this.#deliveries.push(delivery)
    this.#lastIndex = Math.max(this.#lastIndex, index)
    return delivery
  }

  /** True when a relay has gone on without this answer. */
  isLate(delivery: Delivery, now: number): boolean {
    this.#skipOverdue(now, delivery)
    return delivery.skipped
  }

  /** Records that the answer to `delivery` has been dealt with. */
  answered(delivery: Delivery, now: number): void {
    delivery.state = 'answered'
    this.#idleSince = now
    if (!this.#answeredSet.has(delivery.site)) {
      this.#answeredSet.add(delivery.site)
      this.#answeredSites.push(delivery.site)
    }
    // Kept only as long as it says something: broadcasts for ever would collect them.
    if (this.spec.distribution.kind === 'broadcast-forever')
      this.#deliveries.splice(this.#deliveries.indexOf(delivery), 1)
    if (
      this.spec.distribution.kind === 'broadcast' &&
      this.#minReachedAt === undefined &&
      this.#answeredSet.size >= Math.max(1, this.spec.distribution.minResponses ?? 0)
    )
      this.#minReachedAt = now
  }

  finish(status: TaskStatus, cause?: unknown): void {
    if (this.#finished) return
    this.#finished = true
    this.#resolve({
      status,
      answered: this.#answeredSites,
      ...(cause === undefined ? {} : { cause }),
    })
  }

  /** How the task ends at `now`; `undefined` while it goes on. */
  verdict(now: number, disconnected: ReadonlySet<string>, leadMs: number): TaskStatus | undefined {
    const { timeoutMs = 0 } = this.spec
    if (now >= this.postedAt + leadMs) this.#skipGone(now, disconnected)
    if (this.#isComplete(now)) return 'ok'
    // An answer that is being dealt with finishes first: it counts whole or not at all.
    if (this.#deliveries.some(({ state }) => state === 'handling')) return undefined
    if (timeoutMs > 0 && now >= this.postedAt + timeoutMs) return 'timeout'
    if (now >= this.postedAt + leadMs && this.#isDead(disconnected)) return 'client_dead'
    if (this.#isRelayExhausted(now)) return 'timeout'
    return undefined
  }

  /** The next moment at which `verdict` or `ask` may answer differently without anybody doing anything. */
  nextChange(now: number, disconnected: ReadonlySet<string>, leadMs: number): number {
    const { timeoutMs = 0, distribution } = this.spec
    const moments: number[] = []
    if (timeoutMs > 0) moments.push(this.postedAt + timeoutMs)
    if (this.#isDead(disconnected)) moments.push(this.postedAt + leadMs)
    if (distribution.kind === 'broadcast' && this.#minReachedAt !== undefined)
      moments.push(this.#minReachedAt + (distribution.waitMs ?? 0))
    if (
      distribution.kind === 'send' &&
      distribution.order === 'sequential' &&
      this.#deliveries.length === 0
    )
      moments.push(nextStep(now, this.postedAt, distribution.assignmentMs))
    if (distribution.kind === 'relay') {
      const pending = this.#pending()
      if (pending === undefined)
        moments.push(nextStep(now, this.#idleSince, distribution.assignmentMs))
      else {
        if ((distribution.resultMs ?? 0) > 0)
          moments.push(pending.sentAt + (distribution.resultMs ?? 0))
        if (disconnected.has(pending.site)) moments.push(this.postedAt + leadMs)
      }
    }
    return Math.min(...moments.filter((moment) => moment > now))
  }

  #isComplete(now: number): boolean {
    const { distribution } = this.spec
    switch (distribution.kind) {
      case 'broadcast': {
        if (this.#answeredSet.size >= this.#targets.length) return true
        if ((distribution.minResponses ?? 0) === 0 || this.#minReachedAt === undefined) return false
        return (
          now >= this.#minReachedAt + (distribution.waitMs ?? 0) &&
          !this.#deliveries.some(({ state }) => state === 'handling')
        )
      }
      case 'broadcast-forever':
        return false
      case 'send':
        return this.#answeredSites.length > 0
      case 'relay':
        return distribution.order === 'any'
          ? this.#deliveries.length >= this.#targets.length && this.#pending() === undefined
          : this.#deliveries.some(
              ({ index, state }) => index === this.#targets.length - 1 && state === 'answered',
            )
      default:
        return distribution satisfies never
    }
  }

  /** Every site that could still do something for this task is gone. */
  #isDead(disconnected: ReadonlySet<string>): boolean {
    if (disconnected.size === 0 || this.spec.distribution.kind === 'broadcast-forever') return false
    const open =
      this.spec.distribution.kind === 'send' && this.#deliveries.length > 0
        ? this.#deliveries.map(({ site }) => site)
        : this.#targets.filter((site) => !this.#answeredSet.has(site))
    return open.length > 0 && open.every((site) => disconnected.has(site))
  }

  #pending(): Delivery | undefined {
    return this.#deliveries.find(({ state, skipped }) => state !== 'answered' && !skipped)
  }

  /** Relays go on without an answer that takes too long. */
  #skipOverdue(now: number, handling?: Delivery): void {
    const { distribution } = this.spec
    if (distribution.kind !== 'relay' || !distribution.resultMs) return
    const pending = this.#pending()
    if (pending === undefined || (pending.state !== 'sent' && pending !== handling)) return
    if (now < pending.sentAt + distribution.resultMs) return
    pending.skipped = true
    this.#idleSince = pending.sentAt + distribution.resultMs
  }

  /** Relays go on without a site that is gone; stock's stand still. */
  #skipGone(now: number, disconnected: ReadonlySet<string>): void {
    if (this.spec.distribution.kind !== 'relay') return
    const pending = this.#pending()
    if (pending?.state !== 'sent' || !disconnected.has(pending.site)) return
    pending.skipped = true
    this.#idleSince = now
  }

  /** How many of its entries name `site`, minus how often it was served. */
  #isOwed(site: string): boolean {
    const wanted = this.#targets.filter((target) => target === site).length
    return wanted > this.#deliveries.filter((delivery) => delivery.site === site).length
  }

  #indexInWindow(site: string, now: number): number | undefined {
    const { distribution } = this.spec
    if (distribution.kind !== 'relay') return undefined
    const start = this.#lastIndex + 1
    const size = 1 + steps(now - this.#idleSince, distribution.assignmentMs)
    const found = this.#targets.slice(start, start + size).indexOf(site)
    return found < 0 ? undefined : start + found
  }

  /** Nobody fetched the task until the window ran past the last target. */
  #isRelayExhausted(now: number): boolean {
    const { distribution } = this.spec
    if (distribution.kind !== 'relay') return false
    this.#skipOverdue(now)
    if (this.#pending() !== undefined || distribution.order === 'any') return false
    if (this.#targets.length === 0) return false // nobody has come yet
    return (
      this.#lastIndex + 1 + steps(now - this.#idleSince, distribution.assignmentMs) >=
      this.#targets.length
    )
  }
}

/** Whole intervals that have passed; none when the interval is 0. */
function steps(elapsed: number, interval = 0): number {
  return interval > 0 ? Math.floor(elapsed / interval) : 0
}

function nextStep(now: number, since: number, interval = 0): number {
  return interval > 0 ? since + (Math.floor((now - since) / interval) + 1) * interval : Infinity
}
