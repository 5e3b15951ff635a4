/**
 * What is registered for which channel and topic. Looked up as exact match, then any topic of the channel,
 * then anything: the first match counts (`spec/transport.md` §6.2).
 */
export class HandlerRegistry<Handler> {
  readonly #handlers = new Map<string, Handler>()

  /** `'*'` as topic, or as channel and topic, matches any. Replaces what was registered before. */
  set(channel: string, topic: string, handler: Handler): void {
    this.#handlers.set(keyOf(channel, topic), handler)
  }

  find(channel: string, topic: string): Handler | undefined {
    return (
      this.#handlers.get(keyOf(channel, topic)) ??
      this.#handlers.get(keyOf(channel, '*')) ??
      this.#handlers.get(keyOf('*', '*'))
    )
  }
}

function keyOf(channel: string, topic: string): string {
  return `${channel}\n${topic}`
}
