import type { HeaderValue } from '@hanse/cellnet'
import type { FrameProofs } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'

/** One side's secret for the keys of one link's message proofs; made by `createFrameKeyShare` of `@hanse/pki`. */
export interface KeyShare {
  /** For the other side, 32 bytes. */
  readonly share: Uint8Array
  /** @throws if `peerShare` is no usable key */
  agree(
    peerShare: Uint8Array,
    options: {
      readonly side: 'dialler' | 'listener'
      readonly transcript: Uint8Array
      readonly coversPayload: boolean
    },
  ): FrameProofs
}

export type KeyShareFactory = () => KeyShare

/** What who logs in says with its request for a challenge; header {@link PROOF_FIELD}. */
export interface ProofOffer {
  readonly capabilities: readonly string[]
  readonly share: Uint8Array
  /** `channelBinding` of its end of the link, or empty. */
  readonly channelBinding: string
  /** Key-exchange group of TLS as its end of the link knows it, or empty. */
  readonly keyExchange: string
}

/** What the server says with its challenge, in the same field of the body. */
export interface ProofAnswer {
  readonly capabilities: readonly string[]
  readonly share: Uint8Array
  /** Whether codes cover payloads: TLS does not reach from end to end. */
  readonly coversPayload: boolean
  /** By the server's key over {@link serverProofText}. */
  readonly signature: Uint8Array
}

/** Everything that both sides have said when the keys are made. */
export interface LoginTranscript {
  readonly client: { readonly name: string; readonly cell: string; readonly nonce: string }
  readonly server: { readonly name: string; readonly nonce: string }
  readonly offer: ProofOffer
  readonly answer: Omit<ProofAnswer, 'signature'>
}

/** Name of the header and of the body's field that hold offer and answer; stock peers pass over both. */
export const PROOF_FIELD = 'hanse'
/** Field of a registration: the token that it renews. */
export const RENEWED_TOKEN = 'hanse_renews'
/** Field of the answer to a registration: seconds that the token is good. */
export const TOKEN_SECONDS = 'hanse_token_seconds'

const SHARE_BYTES = 32
const MAX_CAPABILITIES = 32
const MAX_TEXT = 128
const encoder = new TextEncoder()

/** An unambiguous form of a transcript: every part has its length in front. */
export function transcriptBytes({ client, server, offer, answer }: LoginTranscript): Uint8Array {
  return joinWithLengths([
    encoder.encode('hanse login 1'),
    ...[client.name, client.cell, client.nonce, server.name, server.nonce].map(encode),
    encode(offer.capabilities.join('\n')),
    offer.share,
    encode(offer.channelBinding),
    encode(offer.keyExchange),
    encode(answer.capabilities.join('\n')),
    answer.share,
    encode(answer.coversPayload ? 'headers and payload' : 'headers'),
  ])
}

/** Whether two lists of capabilities hold the same. */
export function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.toSorted().join('\n') === b.toSorted().join('\n')
}

/** What the server signs over a transcript. */
export function serverProofText(transcript: Uint8Array): Uint8Array {
  return joinWithLengths([encode('hanse server proof 1'), transcript])
}

/** What who logs in signs over a transcript. */
export function clientProofText(transcript: Uint8Array): Uint8Array {
  return joinWithLengths([encode('hanse client proof 1'), transcript])
}

export function writeOffer(offer: ProofOffer): Map<string, HeaderValue> {
  return new Map<string, HeaderValue>([
    ['capabilities', [...offer.capabilities]],
    ['share', offer.share],
    ['binding', offer.channelBinding],
    ['key_exchange', offer.keyExchange],
  ])
}

/** @returns `undefined` for anything that is no offer */
export function readOffer(value: HeaderValue | undefined): ProofOffer | undefined {
  if (!(value instanceof Map)) return undefined
  const capabilities = readCapabilities(value.get('capabilities'))
  const share = readShare(value.get('share'))
  const channelBinding = readText(value.get('binding'))
  const keyExchange = readText(value.get('key_exchange'))
  if (capabilities === undefined || share === undefined) return undefined
  if (channelBinding === undefined || keyExchange === undefined) return undefined
  return { capabilities, share, channelBinding, keyExchange }
}

export function writeAnswer(answer: ProofAnswer): Map<string, FobsValue> {
  return new Map<string, FobsValue>([
    ['capabilities', [...answer.capabilities]],
    ['share', answer.share],
    ['covers_payload', answer.coversPayload],
    ['signature', answer.signature],
  ])
}

/** @returns `undefined` for anything that is no answer */
export function readAnswer(value: FobsValue | undefined): ProofAnswer | undefined {
  if (!(value instanceof Map)) return undefined
  const capabilities = readCapabilities(value.get('capabilities'))
  const share = readShare(value.get('share'))
  const coversPayload = value.get('covers_payload')
  const signature = value.get('signature')
  if (capabilities === undefined || share === undefined) return undefined
  if (typeof coversPayload !== 'boolean' || !(signature instanceof Uint8Array)) return undefined
  return { capabilities, share, coversPayload, signature }
}

function readCapabilities(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_CAPABILITIES) return undefined
  const texts = value.filter(
    (one): one is string =>
      typeof one === 'string' && one.length <= MAX_TEXT && !one.includes('\n'),
  )
  return texts.length === value.length ? texts : undefined
}

function readText(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= MAX_TEXT ? value : undefined
}

function readShare(value: unknown): Uint8Array | undefined {
  return value instanceof Uint8Array && value.length === SHARE_BYTES ? value : undefined
}

function encode(text: string): Uint8Array {
  return encoder.encode(text)
}

function joinWithLengths(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const part of parts) {
    view.setUint32(at, part.length)
    bytes.set(part, at + 4)
    at += 4 + part.length
  }
  return bytes
}
