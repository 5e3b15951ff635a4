import type { LinkSecurity, TlsMaterial } from '@hanse/contract'
import {
  type Certificate,
  generatePrivateKey,
  issueLeaf,
  issueRoot,
  type PrivateKey,
} from '@hanse/pki'

const DAY = 86_400_000

/** A certificate authority for tests, with one key for all its leaves. */
export interface League {
  readonly ca: string
  material(commonName: string, options?: { hosts?: string[]; expired?: boolean }): TlsMaterial
  mtls(commonName: string, options?: { hosts?: string[]; expired?: boolean }): LinkSecurity
}

let keys: Promise<[PrivateKey, PrivateKey, PrivateKey]> | undefined

/** Two leagues that do not trust each other; the keys are made once a test run. */
export async function createLeagues(): Promise<[League, League]> {
  keys ??= Promise.all([generatePrivateKey(), generatePrivateKey(), generatePrivateKey()])
  const [first, second, leafKey] = await keys
  return [createLeague('first', first, leafKey), createLeague('second', second, leafKey)]
}

function createLeague(name: string, rootKey: PrivateKey, leafKey: PrivateKey): League {
  const now = Date.now()
  const root: Certificate = issueRoot(rootKey, {
    commonName: name,
    notBefore: now - 30 * DAY,
    notAfter: now + 30 * DAY,
  })
  const league: League = {
    ca: root.pem,
    material(commonName, { hosts = ['localhost', '127.0.0.1'], expired = false } = {}) {
      const leaf = issueLeaf(root, rootKey, {
        commonName,
        hosts,
        publicKey: leafKey.publicKey,
        notBefore: now - 20 * DAY,
        notAfter: expired ? now - DAY : now + 10 * DAY,
      })
      return { ca: root.pem, cert: leaf.pem, key: leafKey.exportPem() }
    },
    mtls: (commonName, options) => ({ mode: 'mtls', tls: league.material(commonName, options) }),
  }
  return league
}
