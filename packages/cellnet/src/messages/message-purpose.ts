import { HEADER, type MessageHeaders, textHeader } from '../headers.ts'
import {
  REPLY_CHANNEL,
  STREAM_CHANNEL,
  STREAM_HEADER,
  STREAM_TOPIC,
} from '../streams/stream-protocol.ts'

/** What a message is for, be it whole or a piece of a stream. */
export type MessagePurpose =
  | { readonly kind: 'request'; readonly channel: string; readonly topic: string }
  /** A reply, a `return`, an acknowledgement, or the end of a stream by its receiver. */
  | { readonly kind: 'answer' }

/** Reads from clear headers alone what a message that passes through is for. Total. */
export function purposeOf(headers: MessageHeaders): MessagePurpose {
  if (headers.get(HEADER.messageType) !== 'req') return { kind: 'answer' }
  const channel = textHeader(headers, HEADER.channel) ?? ''
  const topic = textHeader(headers, HEADER.topic) ?? ''
  if (channel !== STREAM_CHANNEL) return { kind: 'request', channel, topic }
  if (topic === STREAM_TOPIC.ack || topic === STREAM_TOPIC.error) return { kind: 'answer' }
  const inner = textHeader(headers, STREAM_HEADER.channel) ?? ''
  if (inner === REPLY_CHANNEL) return { kind: 'answer' }
  return {
    kind: 'request',
    channel: inner,
    topic: textHeader(headers, STREAM_HEADER.topic) ?? '',
  }
}
