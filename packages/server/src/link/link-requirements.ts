import type { PeerLink } from '@hanse/cellnet'
import type { LinkRequirements } from '@hanse/provision'

/** Why a peer may not come in by `link`, whoever it is; `undefined` if it may. */
export function linkObjection(
  link: PeerLink | undefined,
  require: LinkRequirements,
): string | undefined {
  if (require.messageProofs && link?.proofs.active !== true)
    return 'this server takes only members whose every message proves where it comes from; stock peers cannot'
  const tlsVersion = link?.connection.info.tlsVersion
  if (require.tls13 && tlsVersion !== 'TLSv1.3')
    return `this server takes only TLS 1.3; the link has ${tlsVersion ?? 'no TLS that ends at the server'}`
  const group = link?.proofs.report.keyExchange
  if (require.postQuantum && group?.includes('MLKEM') !== true)
    return `this server takes only links with a post-quantum key exchange; this one ${group === undefined ? 'reports none' : `has ${group}`}`
  return undefined
}
