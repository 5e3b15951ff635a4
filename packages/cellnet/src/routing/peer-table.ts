import type { Connection, Logger } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import { EventSource } from '../event-source.ts'
import type { Misdeed } from '../misdeed.ts'
import type { PeerLink } from '../peer-link.ts'
import type { Admission, Session } from '../sfm/session.ts'
import { isAdminName, isBelow } from './fqcn.ts'

/** What a certain link may be used for, beside the rules that hold for all. */
export interface LinkPolicy {
  /** Admin names may come in here; `spec/transport.md` §8.1. */
  readonly adminNames?: boolean | undefined
  /**
   * Offer message proofs. If the peer does so too, nothing but logins crosses the link until
   * {@link PeerLink.open}.
   */
  readonly proofs?: boolean | undefined
  /** The only cell expected on this link. */
  readonly expectedName?: string | undefined
  /** Says why a name is not welcome, or `undefined` if it is. */
  readonly refuse?: ((fqcn: string, session: Session) => string | undefined) | undefined
}

/** A peer that was not admitted; its connection is about to be closed. */
export interface RefusedPeer {
  /** What it called itself. */
  readonly fqcn: string
  readonly code: string
  readonly reason: string
  readonly connection: Connection
}

export interface PeerEvents {
  connected: PeerLink
  disconnected: PeerLink
  refused: RefusedPeer
  misdeed: Misdeed
}

export interface PeerTableOptions {
  readonly self: string
  readonly maxPeers: number
  /** Cells that show one certificate; a site has one link, a person one for each running tool. */
  readonly maxPeersPerCertificate: number
  /** How long a connection may take to prove that it is alive when another comes under its name. */
  readonly livenessTimeoutMs: number
}

/**
 * The directly connected cells. A second connection under a live name does not get it: the first is asked for
 * a sign of life, and only if none comes does the newer take its place.
 */
export class PeerTable {
  readonly #options: PeerTableOptions
  readonly #resolve: (fqcn: string) => string
  readonly #logger: Logger
  readonly #sessions = new Map<string, Session>()
  readonly #links = new Map<string, PeerLink>()
  /** Admissions under way, one after the other for each name. */
  readonly #admitting = new Map<string, Promise<unknown>>()
  readonly events: EventSource<PeerEvents>

  constructor(resolve: (fqcn: string) => string, logger: Logger, options: PeerTableOptions) {
    this.#resolve = resolve
    this.#logger = logger
    this.#options = options
    this.events = new EventSource((error) =>
      logger.error('a listener of peer events failed', { error }),
    )
  }

  /** Admitted peers. Live view. */
  get links(): ReadonlyMap<string, PeerLink> {
    return this.#links
  }

  session(fqcn: string): Session | undefined {
    return this.#sessions.get(fqcn)
  }

  /** The session of an admitted link that is still there. */
  sessionOf(link: PeerLink): Session | undefined {
    const session = this.#sessions.get(link.fqcn)
    return session?.link === link ? session : undefined
  }

  /** Decides on `session`, which gave the name `fqcn`, and reserves the name for it. */
  async admit(session: Session, fqcn: string, policy: LinkPolicy): Promise<Admission> {
    const refusal = this.#check(session, fqcn, policy)
    if (refusal !== undefined) return this.#refused(session, fqcn, refusal)
    const before = this.#admitting.get(fqcn)
    const decision = this.#claim(session, fqcn, before)
    const settled = decision.catch(() => {})
    this.#admitting.set(fqcn, settled)
    try {
      return await decision
    } finally {
      if (this.#admitting.get(fqcn) === settled) this.#admitting.delete(fqcn)
    }
  }

  /** Makes an admitted session visible, once its greeting is done. */
  connect(session: Session, link: PeerLink): void {
    if (this.#sessions.get(link.fqcn) !== session) return
    this.#links.set(link.fqcn, link)
    this.events.emit('connected', link)
  }

  /** Takes out a session that ended or said goodbye. */
  remove(session: Session): void {
    for (const [fqcn, owner] of this.#sessions) {
      if (owner !== session) continue
      this.#sessions.delete(fqcn)
      const link = this.#links.get(fqcn)
      this.#links.delete(fqcn)
      if (link !== undefined) this.events.emit('disconnected', link)
      return
    }
  }

  async #claim(
    session: Session,
    fqcn: string,
    before: Promise<unknown> | undefined,
  ): Promise<Admission> {
    if (before !== undefined) await before
    const holder = this.#sessions.get(fqcn)
    if (holder !== undefined && !holder.isClosed) {
      if (await holder.probe(this.#options.livenessTimeoutMs))
        return this.#refused(session, fqcn, {
          admitted: false,
          code: 'name_in_use',
          reason: `cell ${fqcn} is already connected and alive; stop it first, or wait until it is gone`,
        })
      this.remove(holder)
      void holder.close(
        new CellError('ERR_REFUSED', `silent, and replaced by a newer connection of ${fqcn}`, {
          reason: 'replaced',
        }),
      )
    }
    if (this.#sessions.size >= this.#options.maxPeers)
      return this.#refused(session, fqcn, {
        admitted: false,
        code: 'too_many',
        reason: `${this.#options.maxPeers} cells are connected; there is no room for more`,
      })
    if (this.#isCertificateFull(session))
      return this.#refused(session, fqcn, {
        admitted: false,
        code: 'too_many',
        reason: `${this.#options.maxPeersPerCertificate} cells are connected with this certificate; close some`,
      })
    if (session.isClosed) return { admitted: false, code: 'closing', reason: 'already closed' }
    this.#sessions.set(fqcn, session)
    return { admitted: true }
  }

  #isCertificateFull({ connection }: Session): boolean {
    const { peerFingerprint } = connection.info
    if (peerFingerprint === undefined) return false
    let links = 0
    for (const other of this.#sessions.values())
      if (other.connection.info.peerFingerprint === peerFingerprint) links += 1
    return links >= this.#options.maxPeersPerCertificate
  }

  #check(session: Session, fqcn: string, policy: LinkPolicy): Refused | undefined {
    const refuse = (code: string, reason: string): Refused => ({ admitted: false, code, reason })
    if (fqcn === this.#options.self)
      return refuse('own_name', `the cell dialled is itself called ${fqcn}`)
    if (policy.expectedName !== undefined && fqcn !== policy.expectedName)
      return refuse(
        'unexpected_name',
        `this link is for ${policy.expectedName}, but the peer is ${fqcn}`,
      )
    const unwelcome = policy.refuse?.(fqcn, session)
    if (unwelcome !== undefined) return refuse('unexpected_name', unwelcome)
    const isAdmin = isAdminName(fqcn)
    if (isAdmin && session.role === 'passive' && policy.adminNames !== true)
      return refuse('admin_not_allowed', 'admin cells are not accepted on this listener')
    return this.#checkIdentity(session, fqcn, isAdmin, refuse)
  }

  /** Binds the name to the certificate, on links that have one from both sides (§8.1). */
  #checkIdentity(
    session: Session,
    fqcn: string,
    isAdmin: boolean,
    refuse: (code: string, reason: string) => Refused,
  ): Refused | undefined {
    const { connection, role } = session
    if (connection.info.mode !== 'mtls') return undefined
    if (connection.peerName === undefined) {
      // Some drivers verify the listener's certificate, but cannot tell a dialler its name.
      if (role === 'active' && connection.info.peerFingerprint === undefined) return undefined
      return refuse('identity_mismatch', 'the certificate carries no single common name')
    }
    if (isAdmin) return undefined
    const expected = this.#resolve(fqcn)
    if (connection.peerName === expected) return undefined
    return refuse(
      'identity_mismatch',
      `cell ${fqcn} must present a certificate for ${expected}, not for ${connection.peerName}`,
    )
  }

  #refused(session: Session, fqcn: string, refusal: Refused): Refused {
    this.#logger.warn('peer refused', {
      fqcn,
      code: refusal.code,
      reason: refusal.reason,
      remoteAddress: session.connection.info.remoteAddress,
    })
    const { code, reason } = refusal
    this.events.emit('refused', { fqcn, code, reason, connection: session.connection })
    return refusal
  }
}

type Refused = Extract<Admission, { admitted: false }>

/**
 * Whether a message that came straight from `peer` may say that `origin` made it: the peer itself or a cell
 * below it; anybody, if the peer is the server or above us, who pass on what others sent.
 */
export function mayOriginate(self: string, peer: string, origin: string): boolean {
  if (origin === self) return false
  if (origin === peer || isBelow(origin, peer)) return true
  return peer === 'server' || isBelow(self, peer)
}
