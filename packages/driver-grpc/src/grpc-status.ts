import { TransportError } from '@hanse/contract'

/** Status codes of gRPC that we send or explain. */
export const STATUS = {
  ok: 0,
  cancelled: 1,
  invalidArgument: 3,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
} as const

const NAMES: readonly string[] = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

const MAX_MESSAGE_LENGTH = 200

export interface CallStatus {
  readonly code: number
  readonly message: string
}

/** What the trailers of a call say, `undefined` if they have no status. Takes what the peer wrote as foreign. */
export function readStatus(headers: Readonly<Record<string, unknown>>): CallStatus | undefined {
  const { 'grpc-status': code, 'grpc-message': message } = headers
  if (typeof code !== 'string' || !/^\d{1,3}$/.test(code)) return undefined
  return { code: Number(code), message: typeof message === 'string' ? readable(message) : '' }
}

/** The fault behind the end of a call; `undefined` for an orderly one: stock listeners end calls as cancelled. */
export function statusFault({ code, message }: CallStatus): TransportError | undefined {
  if (code === STATUS.ok || code === STATUS.cancelled) return undefined
  const name = NAMES[code] ?? `status ${code}`
  const hint = code === STATUS.unimplemented ? '; it serves gRPC, but not this service' : ''
  return new TransportError(
    'ERR_CONNECTION_LOST',
    `the listener ended the call with ${name}${message === '' ? '' : ` (${message})`}${hint}`,
    { status: code, reason: 'status' },
  )
}

/** The status that tells a dialler why its call is over. What went wrong on our side stays there. */
export function statusOf(error: Error): CallStatus {
  if (!(error instanceof TransportError)) return { code: STATUS.internal, message: '' }
  const { message } = error
  if (error.code === 'ERR_FRAME_LENGTH') return { code: STATUS.resourceExhausted, message }
  if (error.details['reason'] === 'encoding') return { code: STATUS.invalidArgument, message }
  if (error.details['reason'] === 'compressed') return { code: STATUS.internal, message }
  return { code: STATUS.internal, message: '' }
}

/** As the trailers carry it: printable ASCII, percent-encoded. */
export function statusHeaders({ code, message }: CallStatus): Record<string, string> {
  return {
    'grpc-status': String(code),
    ...(message === ''
      ? {}
      : { 'grpc-message': encodeURIComponent(message).replaceAll('%20', ' ') }),
  }
}

function readable(message: string): string {
  let text = message
  try {
    text = decodeURIComponent(message)
  } catch {
    // Not encoded as it should be; shown as it came.
  }
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, MAX_MESSAGE_LENGTH)
}
