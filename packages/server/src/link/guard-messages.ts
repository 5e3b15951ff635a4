import type { Cell, PeerLink } from '@hanse/cellnet'
import type { Clock } from '@hanse/contract'
import { signToken, tokenMac, verifyText } from '@hanse/pki'
import type { ServerKit } from '@hanse/provision'
import { createTokenGuard, serverStamp, type TokenClaims, type TokenGuard } from '@hanse/session'
import type { RecordRefusal } from './link-events.ts'

export interface MessageGuardComponents {
  readonly cell: Cell
  readonly kit: ServerKit
  readonly clock: Clock
  /** True for the private pipe to one of the server's own job processes. */
  isOwnJob(link: PeerLink): boolean
  /** Why a member whose token is good may not speak now all the same. */
  objection(claims: TokenClaims): string | undefined
  readonly recordRefusal: RecordRefusal
}

/** Puts the check of every message, and the server's own stamps, in place. */
export function guardMessages({
  cell,
  kit,
  clock,
  isOwnJob,
  objection,
  recordRefusal,
}: MessageGuardComponents): TokenGuard {
  const { key } = kit.identity
  const guard = createTokenGuard({
    mac: tokenMac(key),
    clock,
    verifySignature: (text, signature) => verifyText(key.publicKey, text, signature),
    objection,
    isOwnJob,
    onRefused: ({ origin, destination, channel, topic, peer, reason }) =>
      recordRefusal({
        actor: { name: peer },
        act: 'message',
        target: `${destination} ${channel}/${topic}`,
        outcome: 'refused',
        code: 'unauthenticated',
        text: `origin '${origin}': ${reason}`,
      }),
  })
  cell.incoming(guard.filter)
  cell.outgoing(serverStamp((name, token) => signToken(key, name, token)))
  return guard
}
