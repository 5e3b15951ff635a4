/**
 * Handlers by channel and topic. Looked up exact first, then `channel:*`, then `*:*`; the first match alone
 * counts (`spec/transport.md` §6.2). Registering twice replaces.
 */
export class HandlerTable<Handler> {
  readonly #channels = new Map<string, Map<string, Handler>>()

  set(channel: string, topic: string, handler: Handler): void {
    const topics = this.#channels.get(channel) ?? new Map<string, Handler>()
    this.#channels.set(channel, topics)
    topics.set(topic, handler)
  }

  find(channel: string, topic: string): Handler | undefined {
    const topics = this.#channels.get(channel)
    return topics?.get(topic) ?? topics?.get('*') ?? this.#channels.get('*')?.get('*')
  }
}
