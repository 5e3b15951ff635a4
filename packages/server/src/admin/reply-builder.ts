import type { JsonObject, JsonValue } from '@hanse/contract'
import {
  COMMAND_STATUS,
  type CommandReply,
  type CommandStatus,
  type ReplyItem,
} from '@hanse/session'

/** A command that cannot be done, in words for the person; becomes the last item of the reply. */
export class CommandFailure extends Error {
  readonly status: CommandStatus
  /** What meta says under `info`; default the message. */
  readonly info: string
  readonly meta: JsonObject

  constructor(status: CommandStatus, message: string, info = message, meta: JsonObject = {}) {
    super(message)
    this.name = 'CommandFailure'
    this.status = status
    this.info = info
    this.meta = meta
  }
}

/** Collects a reply in the order of production (`spec/admin.md` §4). */
export class ReplyBuilder {
  readonly #items: ReplyItem[] = []
  #meta: Record<string, JsonValue> = {}

  text(data: string): this {
    this.#items.push({ type: 'string', data })
    return this
  }

  token(data: string): this {
    this.#items.push({ type: 'token', data })
    return this
  }

  dict(data: JsonObject): this {
    this.#items.push({ type: 'dict', data })
    return this
  }

  table(header: readonly string[], rows: readonly (readonly (string | null)[])[]): this {
    this.#items.push({ type: 'table', rows: [header, ...rows] })
    return this
  }

  /** Tells the tool to end. */
  shutdown(data: string): this {
    this.#items.push({ type: 'shutdown', data })
    return this
  }

  success(info = ''): this {
    this.#items.push({ type: 'success', data: info })
    return this.meta({ status: COMMAND_STATUS.ok, info })
  }

  /** Adds to the meta; later keys win. */
  meta(members: JsonObject): this {
    this.#meta = { ...this.#meta, ...members }
    return this
  }

  /** Done, without an item of its own. */
  ok(info = ''): this {
    return this.meta({ status: COMMAND_STATUS.ok, info })
  }

  fail(failure: CommandFailure): this {
    this.#items.push({ type: 'error', data: failure.message })
    return this.meta({ ...failure.meta, status: failure.status, info: failure.info })
  }

  build(): CommandReply {
    return { items: this.#items, meta: this.#meta }
  }
}
