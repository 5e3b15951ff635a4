import { type Logger, messageOf as textOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type {
  CellReply,
  HandleOptions,
  ReplyMessage,
  RequestHandler,
  RequestOptions,
} from './cell-api.ts'
import type { BodyCodec, EncodedMessage } from './downloads/body-codec.ts'
import type { HeaderValue, MessageHeaders } from './headers.ts'
import { replyToError, returnCodeOf } from './messages/request-server.ts'
import type { ReturnCode } from './return-code.ts'
import type { EncodedBody } from './streams/encoded-body.ts'
import type { IncomingStreamRequest, OutgoingStreamReply, Streams } from './streams/streams.ts'

export interface StreamedRequestsComponents {
  readonly self: string
  readonly logger: Logger
  readonly streams: Pick<Streams, 'handle' | 'request' | 'notify'>
  readonly codec: BodyCodec
}

/** Requests and replies on streamed channels, their arrays pulled by whoever receives them. */
export class StreamedRequests {
  readonly #components: StreamedRequestsComponents

  constructor(components: StreamedRequestsComponents) {
    this.#components = components
  }

  handle(
    channel: string,
    topic: string,
    handler: RequestHandler,
    { maxBodyBytes }: HandleOptions,
  ): void {
    this.#components.streams.handle(
      channel,
      topic,
      (request, value, options) => this.#serve(request, value as FobsValue, handler, options),
      { maxBodyBytes },
    )
  }

  /** One request to each target, the body encoded once and its arrays offered to all of them. */
  async request(
    targets: readonly string[],
    channel: string,
    topic: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<Map<string, ReplyMessage>> {
    options.signal?.throwIfAborted()
    const receivers = [...new Set(targets)]
    const message = this.#encode(body, receivers)
    if ('error' in message)
      return new Map(receivers.map((target) => [target, this.#failure(message.error)]))
    let delivered = false
    try {
      const replies = await Promise.all(
        receivers.map(async (target): Promise<[string, ReplyMessage]> => {
          const reply = await this.#request(target, channel, topic, message.body, options)
          if (!isLocalFailure(reply)) delivered = true
          return [target, reply]
        }),
      )
      return new Map(replies)
    } finally {
      // What nobody received, nobody will pull. A receiver that did may still be at it.
      if (!delivered) message.offer?.cancel()
    }
  }

  async notify(
    target: string,
    channel: string,
    topic: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<ReturnCode> {
    const message = this.#encode(body, [target])
    if ('error' in message) {
      this.#components.logger.warn('a notification cannot be encoded', { error: message.error })
      return 'invalid_request'
    }
    const { signal, secure, optional, headers } = options
    const returnCode = await this.#components.streams.notify(target, channel, topic, message.body, {
      signal,
      secure,
      optional,
      headers: headerMap(headers),
    })
    if (returnCode !== 'ok') message.offer?.cancel()
    return returnCode
  }

  async #request(
    target: string,
    channel: string,
    topic: string,
    body: EncodedBody,
    options: RequestOptions,
  ): Promise<ReplyMessage> {
    const { signal, secure, optional, timeoutMs, headers } = options
    const { streams, codec } = this.#components
    const reply = await streams.request(target, channel, topic, body, {
      signal,
      secure,
      optional,
      timeoutMs,
      headers: headerMap(headers),
    })
    try {
      return {
        returnCode: reply.returnCode,
        error: reply.error,
        headers: reply.headers,
        body: await codec.decode(reply.body, { origin: target, secure: reply.secure, signal }),
        origin: reply.origin,
      }
    } catch (error) {
      signal?.throwIfAborted()
      return {
        ...this.#failure(`the reply of ${target} is not usable: ${textOf(error)}`),
        returnCode: 'comm_error',
      }
    }
  }

  async #serve(
    request: IncomingStreamRequest,
    body: FobsValue,
    handler: RequestHandler,
    options: { readonly signal: AbortSignal },
  ): Promise<OutgoingStreamReply | undefined> {
    const { channel, topic, origin, headers, link } = request
    let reply: CellReply | undefined
    try {
      reply = await handler({ channel, topic, origin, headers, body, link }, options)
    } catch (error) {
      reply = replyToError(error, this.#components.self)
      if (returnCodeOf(error) === undefined)
        this.#components.logger.error('a request handler failed', { channel, topic, origin, error })
    }
    if (reply === undefined || !request.expectsReply) return undefined
    const message = this.#encode(reply.body, [origin])
    if ('error' in message) {
      this.#components.logger.error('a reply cannot be encoded', { error: message.error })
      return { returnCode: 'process_exception', error: 'the reply cannot be encoded' }
    }
    return {
      returnCode: reply.returnCode,
      error: reply.error,
      headers: headerMap(reply.headers),
      body: message.body,
      onSettled(returnCode) {
        if (returnCode !== 'ok') message.offer?.cancel()
      },
    }
  }

  #encode(body: unknown, receivers: readonly string[]): EncodedMessage | { error: string } {
    try {
      // Within one process there is nothing to pull from: the receiver is us.
      const remote = receivers.filter((receiver) => receiver !== this.#components.self)
      return this.#components.codec.encode(body, { receivers: remote })
    } catch (error) {
      return { error: textOf(error) }
    }
  }

  #failure(error: string): ReplyMessage {
    return {
      returnCode: 'invalid_request',
      error,
      headers: new Map(),
      body: null,
      origin: this.#components.self,
    }
  }
}

function headerMap(headers: Readonly<Record<string, HeaderValue>> | undefined): MessageHeaders {
  return new Map(Object.entries(headers ?? {}))
}

function isLocalFailure({ headers }: ReplyMessage): boolean {
  return headers.size === 0
}
