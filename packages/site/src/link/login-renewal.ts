import { type Clock, type Logger, messageOf } from '@hanse/contract'

export interface LoginRenewalComponents {
  readonly clock: Clock
  readonly logger: Logger
  /** Logs in anew. Waits for a server that is away; rejects when the server refuses, or when the site stops. */
  logIn(): Promise<void>
}

const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 300_000

/**
 * Logs a site in anew when its server does not accept its token any more: it has another key, or let somebody else
 * take the name. A server that refuses the login too, since the site is disabled, is asked again and again, ever more
 * rarely: an old token is good again once the site is enabled.
 */
export class LoginRenewal {
  readonly #components: LoginRenewalComponents
  #pauseMs = FIRST_PAUSE_MS
  /** Ms since the epoch. */
  #notBefore = 0
  #isUnderWay = false

  constructor(components: LoginRenewalComponents) {
    this.#components = components
  }

  /** A heartbeat was accepted. */
  accepted(): void {
    this.#pauseMs = FIRST_PAUSE_MS
    this.#notBefore = 0
  }

  /** A heartbeat was refused as that of nobody. Resolves when the login, if it is time for one, is over. */
  async refused(reason: string): Promise<void> {
    const { clock, logger, logIn } = this.#components
    if (this.#isUnderWay || clock.now() < this.#notBefore) return
    this.#isUnderWay = true
    logger.info('the server does not accept this login any more', { reason })
    try {
      await logIn()
      this.accepted()
    } catch (error) {
      this.#notBefore = clock.now() + this.#pauseMs
      this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
      logger.warn('no new login', { reason: messageOf(error) })
    } finally {
      this.#isUnderWay = false
    }
  }
}
