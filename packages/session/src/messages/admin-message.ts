import {
  DATA_CLASS_DECOMPOSER,
  type FobsCodec,
  type FobsValue,
  recordParts,
  shapeError,
  textMapData,
} from '@hanse/fobs'

const TYPE_NAME = 'nvflare.private.admin_defs.Message'
const ATTRIBUTES = 4

/** A command between server and site, or its answer (fobs.md §12.7); stock calls it `Message`. */
export class AdminMessage {
  readonly topic: string
  /** Text, bytes or any other value, by topic. */
  readonly body: FobsValue
  readonly headers: Map<string, FobsValue>
  /** UUID; an answer names it in header `_refMsgId`. */
  readonly id: string

  /** Takes over `headers`. */
  constructor(
    topic: string,
    body: FobsValue,
    headers: Map<string, FobsValue> = new Map(),
    id: string = crypto.randomUUID(),
  ) {
    this.topic = topic
    this.body = body
    this.headers = headers
    this.id = id
  }

  /** A header's text; `undefined` if it is absent or anything else. */
  textHeader(name: string): string | undefined {
    const value = this.headers.get(name)
    return typeof value === 'string' ? value : undefined
  }
}

export const adminMessageCodec: FobsCodec<AdminMessage> = {
  typeName: TYPE_NAME,
  decomposer: DATA_CLASS_DECOMPOSER,
  class: AdminMessage,
  compose(data) {
    const { attributes } = recordParts(TYPE_NAME, data)
    const id = attributes.get('id')
    const topic = attributes.get('topic')
    const body = attributes.get('body')
    if (
      attributes.size !== ATTRIBUTES ||
      typeof id !== 'string' ||
      typeof topic !== 'string' ||
      body === undefined
    )
      throw shapeError(TYPE_NAME, 'a map of id, topic, body and headers')
    const headers = textMapData(TYPE_NAME, attributes.get('headers') ?? null)
    return new AdminMessage(topic, body, headers, id)
  },
  decompose: ({ id, topic, body, headers }) =>
    new Map([
      [
        'data',
        new Map<string, FobsValue>([
          ['id', id],
          ['topic', topic],
          ['body', body],
          ['headers', headers],
        ]),
      ],
    ]),
}
