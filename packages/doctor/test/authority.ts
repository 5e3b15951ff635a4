import type { TlsOptions } from 'node:tls'
import {
  type Certificate,
  generatePrivateKey,
  issueLeaf,
  issueRoot,
  type PrivateKey,
} from '@hanse/pki'

const DAY_MS = 86_400_000

/** An authority of our own, as the owner of a proxy has one. */
export class Authority {
  readonly #key: PrivateKey
  readonly #leafKey: PrivateKey
  readonly root: Certificate

  private constructor(key: PrivateKey, leafKey: PrivateKey) {
    this.#key = key
    this.#leafKey = leafKey
    this.root = issueRoot(key, { commonName: 'proxy root', ...validity(-30, 365) })
  }

  static async found(): Promise<Authority> {
    return new Authority(await generatePrivateKey(), await generatePrivateKey())
  }

  /** What a listener with a certificate like this needs; `from` and `to` in days from now. */
  listener({ host = 'localhost', from = -1, to = 30 } = {}): TlsOptions {
    const leaf = issueLeaf(this.root, this.#key, {
      commonName: host,
      hosts: [host],
      publicKey: this.#leafKey.publicKey,
      ...validity(from, to),
      profile: {
        keyUsage: ['digitalSignature', 'keyEncipherment'],
        extendedKeyUsage: ['serverAuth'],
        kitMark: { version: 1, type: 'server' },
      },
    })
    return { cert: leaf.pem, key: this.#leafKey.exportPem() }
  }
}

function validity(from: number, to: number) {
  return { notBefore: Date.now() + from * DAY_MS, notAfter: Date.now() + to * DAY_MS }
}
