import type { Connection } from '@hanse/contract'
import type { PeerLink } from './peer-link.ts'

/**
 * What no honest peer does.
 * - `forged_origin`: a message in the name of a cell that the peer may not speak for
 * - `frame`: bytes that are no frame, or not of the protocol that carries frames, or a frame at the wrong time
 * - `frame_length`: a frame that is longer than its sender may send, or shorter than a frame can be
 * - `proof`: a message without the code that all of its link must carry, or with a wrong one
 * - `headers`: headers that cannot be read, or lack what every message has
 * - `body`: a body that is not what its encoding says, or holds a type that we do not take
 * - `no_greeting`: a connection that did not say in time who it is
 * - `too_many`: more connections without a name than we keep
 * - `foreign_download`: a reference to data that was offered to others
 */
export type MisdeedCode =
  | 'forged_origin'
  | 'frame'
  | 'frame_length'
  | 'proof'
  | 'headers'
  | 'body'
  | 'no_greeting'
  | 'too_many'
  | 'foreign_download'

/** Something that a peer did against the rules; it has been refused already, and is worth a record. */
export interface Misdeed {
  /** Name of the cell at the other end of the link; empty before its greeting. */
  readonly fqcn: string
  readonly connection: Connection
  readonly code: MisdeedCode
  /** For people. A peer can vary some of it: whoever records it must fold a flood. */
  readonly reason: string
}

/** Reports what came over a link; messages of this cell to itself have none and are passed over. */
export type ReportMisdeed = (link: PeerLink | undefined, code: MisdeedCode, reason: string) => void
