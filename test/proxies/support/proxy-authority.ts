import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generatePrivateKey, issueLeaf, issueRoot } from '@hanse/pki'

const DAY_MS = 86_400_000

/** The authority that the owner of a proxy has, and a certificate of it. */
export interface ProxyAuthority {
  /** PEM text, for `custom_ca_cert`. */
  readonly root: string
  /** Writes `league.crt`, `league.key` and, for haproxy, both in `league.pem`. */
  writeTo(folder: string): Promise<void>
}

export async function foundAuthority(hosts: readonly string[]): Promise<ProxyAuthority> {
  const [rootKey, leafKey] = await Promise.all([generatePrivateKey(), generatePrivateKey()])
  const validity = { notBefore: Date.now() - DAY_MS, notAfter: Date.now() + 30 * DAY_MS }
  const root = issueRoot(rootKey, { commonName: 'Proxy Owner Root', ...validity })
  const leaf = issueLeaf(root, rootKey, {
    commonName: 'proxy',
    hosts,
    publicKey: leafKey.publicKey,
    ...validity,
  })
  return {
    root: root.pem,
    async writeTo(folder) {
      const key = leafKey.exportPem()
      await writeFile(join(folder, 'league.crt'), leaf.pem)
      await writeFile(join(folder, 'league.key'), key, { mode: 0o600 })
      await writeFile(join(folder, 'league.pem'), leaf.pem + key, { mode: 0o600 })
    },
  }
}
