import { type Cell, createCell } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { type RefusedHandshake, tcp } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import { createMessageCipher } from '@hanse/pki'
import { heartbeatOf, type ServerKit } from '@hanse/provision/kit'
import { adminCodecs, platformCodecs, SERVER_CELL } from '@hanse/session'
import {
  handshakeEvent,
  misdeedEvent,
  type RecordRefusal,
  refusedPeerEvent,
} from './link-events.ts'

export interface ServerCellComponents {
  readonly kit: ServerKit
  readonly clock: Clock
  readonly logger: Logger
  readonly recordRefusal: RecordRefusal
}

/** Bodies come as streams of smaller chunks; what one member can make us hold is bounded by this. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024
/**
 * The server itself reads commands and pieces of uploads; models pass it by on their way to the jobs. One person may
 * have many cells: what each can make us hold is small.
 */
const STREAM_LIMITS = {
  maxBodyBytes: 8 * 1024 * 1024,
  maxBufferedBytesPerPeer: 24 * 1024 * 1024,
  maxWaitingBytesPerPeer: 24 * 1024 * 1024,
}

/** The cell that everybody of the league connects to; whom it turns away at the door goes into the record. */
export function createServerCell({
  kit,
  clock,
  logger,
  recordRefusal,
}: ServerCellComponents): Cell {
  const onRefused = (handshake: RefusedHandshake) => recordRefusal(handshakeEvent(handshake))
  const options = { clock, logger, onRefused }
  const cell = createCell(
    SERVER_CELL,
    {
      // The kit's scheme decides.
      drivers: [tcp(options), http(options), grpc(options)],
      registry: createFobsRegistry(coreCodecs, platformCodecs, adminCodecs),
      clock,
      logger,
      cipher: createMessageCipher({ identity: kit.identity, clock }),
    },
    {
      ownName: kit.name,
      maxFrameBytes: MAX_FRAME_BYTES,
      streams: STREAM_LIMITS,
      ...heartbeatOf(kit),
    },
  )
  cell.onPeer('refused', (peer) => recordRefusal(refusedPeerEvent(peer)))
  cell.onPeer('misdeed', (misdeed) => recordRefusal(misdeedEvent(misdeed)))
  return cell
}
