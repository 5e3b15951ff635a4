import type { Cell } from '@hanse/cellnet'
import { type Clock, hasCode, type Listener, type Logger } from '@hanse/contract'
import type { ServerKit } from '@hanse/provision'
import { abortableDelay } from '@hanse/session'
import type { ExternalCells } from '../external-cells/external-cells.ts'
import type { RevocationService } from '../revocation/revocation-service.ts'

export interface ListenComponents {
  readonly cell: Cell
  readonly kit: ServerKit
  readonly revocations: RevocationService
  readonly externalCells: ExternalCells
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
  /** Whether people may come in by this port. */
  readonly adminNames: boolean
}

const PATIENCE_MS = 5_000
const RETRY_MS = 250

/**
 * Listens, and waits a while for a port that is still held: a server that was just killed may not be gone yet.
 * @throws {TransportError} `ERR_LISTEN`
 */
export async function listenPatiently(
  url: URL,
  { cell, kit, revocations, externalCells, clock, logger, signal, adminNames }: ListenComponents,
): Promise<Listener> {
  const security = { mode: kit.server.connectionSecurity, tls: kit.identity.tls }
  const deadline = clock.now() + PATIENCE_MS
  for (;;) {
    try {
      return await cell.listen(url, security, {
        adminNames,
        proofs: true,
        refuse: (fqcn, { connection }) =>
          revocations.objection(connection.peerName) ?? externalCells.unwelcome(fqcn),
      })
    } catch (error) {
      if (!hasCode(error, 'ERR_LISTEN') || clock.now() >= deadline) throw error
      logger.warn('cannot listen yet', { url: url.host, reason: error.message })
      await abortableDelay(clock, RETRY_MS, { signal })
    }
  }
}
