/** A value that a message header can hold; maps have string keys on the wire. */
export type HeaderValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | HeaderValue[]
  | Map<string, HeaderValue>

/** Headers of one message, in the order of the wire. Keys come from peers: they are never object keys. */
export type MessageHeaders = ReadonlyMap<string, HeaderValue>

/** Names of the cell headers; `spec/transport.md` §5.1. */
export const HEADER = {
  channel: 'cn__channel',
  clearPayloadLength: 'cn__clear_payload_len',
  connectUrl: 'cn__conn_url',
  destination: 'cn__destination',
  encrypted: 'cn__encrypted',
  error: 'cn__error',
  from: 'cn__from',
  messageType: 'cn__msg_type',
  optional: 'cn__optional',
  origin: 'cn__origin',
  originalHeaders: 'cn__original_headers',
  payloadEncoding: 'cn__payload_encoding',
  payloadLength: 'cn__payload_len',
  replyExpected: 'cn__reply_expected',
  requestId: 'cn__req_id',
  returnCode: 'cn__return_code',
  returnReason: 'cn__return_reason',
  route: 'cn__route',
  secure: 'cn__secure',
  sendTime: 'cn__send_time',
  serverTransit: 'cn__server_transit_required',
  to: 'cn__to',
  topic: 'cn__topic',
} as const

/** The text under `key`, or `undefined` if it is absent or of another type. */
export function textHeader(headers: MessageHeaders, key: string): string | undefined {
  const value = headers.get(key)
  return typeof value === 'string' ? value : undefined
}
