import {
  type AcceptedCertificate,
  CipherError,
  type Clock,
  type Logger,
  type MessageCipher,
  messageOf as textOf,
} from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { isAdminName } from '../routing/fqcn.ts'
import { CertificateCache } from './certificate-cache.ts'

export const KEY_EXCHANGE_CHANNEL = 'credential_manager'
export const KEY_EXCHANGE_TOPIC = 'key_exchange'

export interface MessageSecurityComponents {
  readonly cipher: MessageCipher
  readonly clock: Clock
  readonly logger: Logger
  /** Which common name a cell's certificate must carry. */
  readonly resolve: (fqcn: string) => string
  /** Sends our part of the key exchange as a plain request and returns the body of the reply. */
  readonly exchange: (fqcn: string, body: Map<string, Uint8Array>) => Promise<FobsValue>
}

export interface MessageSecurityOptions {
  readonly maxCertificates: number
  readonly certificateMaxAgeMs: number
}

/**
 * End-to-end encryption between cells (`spec/transport.md` §8.4): who has which certificate. A certificate is
 * kept only under a cell whose name it may speak for, whatever the message says that brought it.
 */
export class MessageSecurity {
  readonly #components: MessageSecurityComponents
  readonly #cache: CertificateCache
  readonly #exchanges = new Map<string, Promise<AcceptedCertificate>>()

  constructor(components: MessageSecurityComponents, options: MessageSecurityOptions) {
    this.#components = components
    this.#cache = new CertificateCache(components.clock, {
      maxEntries: options.maxCertificates,
      maxAgeMs: options.certificateMaxAgeMs,
    })
  }

  /** Whether a message of `fqcn` can be opened without asking that cell first. */
  knows(fqcn: string): boolean {
    return this.#cache.get(fqcn) !== undefined
  }

  /** Fetches the certificate of `fqcn` unless it is known; concurrent calls share one exchange. */
  certificateOf(fqcn: string): Promise<AcceptedCertificate> {
    const known = this.#cache.get(fqcn)
    if (known !== undefined) return Promise.resolve(known)
    const underway = this.#exchanges.get(fqcn)
    if (underway !== undefined) return underway
    const exchange = this.#fetch(fqcn).finally(() => this.#exchanges.delete(fqcn))
    this.#exchanges.set(fqcn, exchange)
    return exchange
  }

  /** Forgets the certificate of `fqcn`, so that the next use asks for it. */
  forget(fqcn: string): void {
    this.#cache.delete(fqcn)
  }

  async seal(fqcn: string, plaintext: readonly Uint8Array[]): Promise<Uint8Array> {
    return await this.#components.cipher.seal(plaintext, await this.certificateOf(fqcn))
  }

  async open(fqcn: string, envelope: Uint8Array): Promise<Uint8Array> {
    return await this.#components.cipher.open(envelope, await this.certificateOf(fqcn))
  }

  /**
   * Answers a peer's key exchange.
   * @returns the reply's body; `fault` if its certificate was not accepted
   */
  async answer(
    origin: string,
    body: FobsValue,
  ): Promise<{ body: Map<string, Uint8Array | string>; fault: string | undefined }> {
    try {
      this.#cache.set(origin, await this.#accept(origin, body))
      return { body: this.#ownCertificates(), fault: undefined }
    } catch (error) {
      const fault = `certificate of ${origin} not accepted: ${textOf(error)}`
      this.#components.logger.warn('key exchange refused', { origin, reason: textOf(error) })
      return { body: new Map([['cert_error', fault]]), fault }
    }
  }

  async #fetch(fqcn: string): Promise<AcceptedCertificate> {
    const reply = await this.#components.exchange(fqcn, this.#ownCertificates())
    const certificate = await this.#accept(fqcn, reply)
    this.#cache.set(fqcn, certificate)
    return certificate
  }

  async #accept(fqcn: string, body: FobsValue): Promise<AcceptedCertificate> {
    const fault = body instanceof Map ? body.get('cert_error') : undefined
    if (typeof fault === 'string')
      throw new CellError(
        'ERR_REFUSED',
        `the peer did not accept our certificate: ${fault.slice(0, 300)}`,
      )
    const chain = body instanceof Map ? body.get('cert_content') : undefined
    const pem = chain instanceof Uint8Array ? new TextDecoder().decode(chain) : chain
    if (typeof pem !== 'string')
      throw new CipherError('ERR_CERTIFICATE_FORMAT', 'the key exchange carries no certificate')
    // Admin cells have random names; what binds them is the link they came in by.
    const expected = isAdminName(fqcn) ? undefined : this.#components.resolve(fqcn)
    return await this.#components.cipher.accept(pem, expected)
  }

  #ownCertificates(): Map<string, Uint8Array> {
    const { chain, ca } = this.#components.cipher.certificates
    const utf8 = new TextEncoder()
    return new Map([
      ['cert_content', utf8.encode(chain)],
      ['cert_ca_content', utf8.encode(ca)],
    ])
  }
}
