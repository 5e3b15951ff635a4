import { bytesOf } from '@hanse/contract'
import { EMPTY_BODY, type EncodedBody, type OutgoingBody } from '../../src/streams/encoded-body.ts'

/** A body as whoever gets it would have it. */
export function inMemory(body: OutgoingBody = EMPTY_BODY): EncodedBody {
  return { encoding: body.encoding, parts: body.parts.map(bytesOf) }
}
