import {
  DATA_CLASS_DECOMPOSER,
  Float,
  type FobsCodec,
  type FobsValue,
  numberData,
  recordParts,
  shapeError,
  textMapData,
} from '@hanse/fobs'

const TYPE_NAME = 'nvflare.apis.client.Client'
const ATTRIBUTES = 4

/**
 * A site as the server knows it (fobs.md §10.6). Holds the site's token: never put one into a reply, and never
 * log one; only its own fields show up when it is printed, not the token.
 */
export class ClientRecord {
  readonly name: string
  /** Seconds since the epoch. */
  readonly lastConnectTime: number
  /** `fqcn`, `fqsn`, `is_leaf`, optionally `site_config`, `org`. */
  readonly props: ReadonlyMap<string, FobsValue>
  readonly #token: string

  constructor(
    name: string,
    token: string,
    lastConnectTime: number,
    props: ReadonlyMap<string, FobsValue> = new Map(),
  ) {
    this.name = name
    this.#token = token
    this.lastConnectTime = lastConnectTime
    this.props = props
  }

  get token(): string {
    return this.#token
  }
}

export const clientRecordCodec: FobsCodec<ClientRecord> = {
  typeName: TYPE_NAME,
  decomposer: DATA_CLASS_DECOMPOSER,
  class: ClientRecord,
  compose(data) {
    const { attributes } = recordParts(TYPE_NAME, data)
    const name = attributes.get('name')
    const token = attributes.get('token')
    if (attributes.size !== ATTRIBUTES || typeof name !== 'string' || typeof token !== 'string')
      throw shapeError(TYPE_NAME, 'a map of name, token, last_connect_time and props')
    return new ClientRecord(
      name,
      token,
      numberData(TYPE_NAME, attributes.get('last_connect_time')),
      textMapData(TYPE_NAME, attributes.get('props') ?? null),
    )
  },
  decompose: ({ name, token, lastConnectTime, props }) =>
    new Map([
      [
        'data',
        new Map<string, FobsValue>([
          ['name', name],
          ['token', token],
          ['last_connect_time', new Float(lastConnectTime)],
          ['props', props],
        ]),
      ],
    ]),
}
