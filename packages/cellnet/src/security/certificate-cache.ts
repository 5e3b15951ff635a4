import type { AcceptedCertificate, Clock } from '@hanse/contract'

export interface CertificateCacheOptions {
  readonly maxEntries: number
  /** A certificate is asked for anew after this time. */
  readonly maxAgeMs: number
}

interface Entry {
  readonly certificate: AcceptedCertificate
  readonly until: number
}

/** Accepted certificates by cell, the least recently used thrown out first. */
export class CertificateCache {
  readonly #clock: Clock
  readonly #options: CertificateCacheOptions
  readonly #entries = new Map<string, Entry>()

  constructor(clock: Clock, options: CertificateCacheOptions) {
    this.#clock = clock
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  get(fqcn: string): AcceptedCertificate | undefined {
    const entry = this.#entries.get(fqcn)
    if (entry === undefined) return undefined
    this.#entries.delete(fqcn)
    if (entry.until <= this.#clock.now()) return undefined
    this.#entries.set(fqcn, entry)
    return entry.certificate
  }

  set(fqcn: string, certificate: AcceptedCertificate): void {
    this.#entries.delete(fqcn)
    const until = Math.min(certificate.expiry, this.#clock.now() + this.#options.maxAgeMs)
    this.#entries.set(fqcn, { certificate, until })
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries) return
      this.#entries.delete(oldest)
    }
  }

  delete(fqcn: string): void {
    this.#entries.delete(fqcn)
  }
}
