import { randomBytes, randomUUID } from 'node:crypto'
import { watch } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AdminSession, openSession } from '@hanse/admin'
import { type AuditEntry, readAuditLog, verifyAuditLog } from '@hanse/audit'
import { silentLogger, systemClock } from '@hanse/contract'
import { grpc } from '@hanse/driver-grpc'
import { http } from '@hanse/driver-http'
import { tcp } from '@hanse/driver-tcp'
import type { Identity } from '@hanse/pki'
import { type AdminKit, loadKit } from '@hanse/provision'
import { expect, type TaskMeta } from 'vitest'
import { type RawSocket, rawSocket } from '../../packages/driver-socket/test/raw-socket.ts'
import { type AttackerLogin, type LoginLies, logIn } from './attacker-login.ts'
import { AttackerPeer } from './attacker-peer.ts'
import { ATTACK_SCHEME, type TlsOptions, tlsSocket } from './attacker-wire.ts'
import { trainerOf, writeJob } from './job-folder.ts'
import { LEAD, League, type LeagueOptions, SERVER } from './league.ts'

/** Sites that run; the others' kits were stolen. */
const HONEST = ['site-1', 'site-2']
const STOLEN = ['site-3', 'site-4'] as const
const RECORD_WITHIN_MS = 5_000

/** What a refusal must say; all that is given. */
export interface WantedEntry {
  readonly actor?: string
  readonly act?: string
  readonly target?: string
  readonly code?: string
  readonly text?: RegExp
  /** One of the minute before the attack counts too: repeats of one kind are counted in the entry of the first. */
  readonly folded?: boolean
}

/** What a test of an attack has seen beside the refusal; `cases-reporter.ts` shows it. */
export interface AttackFacts {
  /** It was looked for in the record of the place that refused, and found. */
  readonly recorded: boolean
  /** Everybody else was where they were afterwards. */
  readonly harmless: boolean
}

declare module 'vitest' {
  interface TaskMeta {
    /** Absent for tests that attack nothing. */
    attack?: AttackFacts
  }
}

export interface PeerOptions {
  readonly localAddress?: string
}

/** A league at work, in which thieves hold the kits of two sites and of a person. */
export class AttackScene implements AsyncDisposable {
  readonly league: League
  readonly #session: AdminSession
  readonly #identities = new Map<string, Identity>()
  readonly #attackers: AsyncDisposable[] = []
  /** Entries before these were there when the attack began. */
  readonly #marks = new Map<string, number>()
  #jobs = 0
  /** Whether the attack under way was seen in a record. */
  #isRecorded = false
  #isAttack = true

  private constructor(league: League, session: AdminSession) {
    this.league = league
    this.#session = session
  }

  static async start(options: LeagueOptions = {}): Promise<AttackScene> {
    const league = await League.provision({
      scheme: ATTACK_SCHEME,
      ...options,
      sites: [...HONEST, ...STOLEN],
    })
    try {
      await league.startPlace(SERVER)
      await Promise.all(HONEST.map((site) => league.startPlace(site)))
      const kit = await loadKit(league.kit(LEAD), { now: Date.now() })
      const session = await openSession(
        kit as AdminKit, // it is a person's
        { drivers: [tcp(), http(), grpc()], clock: systemClock, logger: silentLogger },
        { software: 'attack tests' },
      )
      return new AttackScene(league, session)
    } catch (error) {
      await league[Symbol.asyncDispose]()
      throw error
    }
  }

  /** What is in a stolen kit. */
  async identityOf(name: string): Promise<Identity> {
    let identity = this.#identities.get(name)
    if (identity === undefined) {
      identity = (await loadKit(this.league.kit(name), { now: Date.now() })).identity
      this.#identities.set(name, identity)
    }
    return identity
  }

  /** A connection with the certificate of `holder`; ends with the test. */
  async dial(holder: string | undefined, options: PeerOptions = {}): Promise<AttackerPeer> {
    const identity = holder === undefined ? undefined : await this.identityOf(holder)
    return this.stranger(identity, options)
  }

  /** A connection with a certificate from anywhere; ends with the test. */
  async stranger(identity: Identity | undefined, options: PeerOptions = {}): Promise<AttackerPeer> {
    const { ca } = (await this.identityOf(STOLEN[0])).tls
    const { port } = this.league
    return this.owns(
      await AttackerPeer.dial({ port, scheme: ATTACK_SCHEME, ca, identity, ...options }),
    )
  }

  /** TLS with the certificate of `holder`, and nothing said inside yet; ends with the test. */
  async socket(holder: string, options: TlsOptions = {}): Promise<RawSocket> {
    const identity = await this.identityOf(holder)
    return this.owns(rawSocket(await tlsSocket(this.league.port, identity, options)))
  }

  /** A link of `holder`, admitted under `cell`; not logged in. */
  async link(holder: string, cell = holder): Promise<AttackerPeer> {
    const peer = await this.dial(holder)
    expect(await peer.hello(cell)).toEqual({ admitted: true })
    return peer
  }

  /** A link of `holder` that has logged in. */
  async intruder(
    holder: string,
    cell = holder,
    lies: LoginLies = {},
  ): Promise<AttackerLogin & { readonly peer: AttackerPeer }> {
    const peer = await this.link(holder, cell)
    const login = await logIn(peer, await this.identityOf(holder), lies)
    expect(login.reply.returnCode, login.reply.error).toBe('ok')
    return { peer, ...login }
  }

  /** Ends with the test. */
  owns<Owned extends AsyncDisposable>(owned: Owned): Owned {
    this.#attackers.push(owned)
    return owned
  }

  /** Call before each attack. */
  async begin(): Promise<void> {
    this.#isRecorded = false
    this.#isAttack = true
    for (const place of [SERVER, ...HONEST])
      this.#marks.set(place, ((await this.#entries(place)).at(-1)?.seq ?? 0) + 1)
  }

  /** Call in a test that shows how things go when nobody attacks. */
  noAttack(): void {
    this.#isAttack = false
  }

  /** Call after each attack: the attackers are gone, and everybody else is where they were. */
  async end({ meta }: { readonly meta: TaskMeta }): Promise<void> {
    for (const attacker of this.#attackers.splice(0).reverse())
      await attacker[Symbol.asyncDispose]()
    await this.expectUnharmed()
    if (this.#isAttack) meta.attack = { recorded: this.#isRecorded, harmless: true }
  }

  async expectUnharmed(): Promise<void> {
    const { sites } = await this.#session.status()
    expect(sites.filter(({ name }) => HONEST.includes(name))).toMatchObject(
      HONEST.map((name) => ({ name, connected: true })),
    )
  }

  /** All that happened is in records that nobody has changed. */
  async expectRecordsHold(): Promise<void> {
    for (const place of [SERVER, ...HONEST])
      expect(await verifyAuditLog(this.#recordOf(place)), place).toMatchObject({ ok: true })
  }

  /** The league still does its work. @returns the job's id */
  async expectJobCompletes({ extraBytes = 0 } = {}): Promise<string> {
    this.#jobs += 1
    const folder = await writeJob(this.league.folder, {
      name: `after-${this.#jobs}`,
      rounds: 1,
      trainer: trainerOf(
        "await send({ params: { w: { dtype: 'float64', shape: [], data: Float64Array.of(1) } } })",
      ),
    })
    if (extraBytes > 0)
      await writeFile(join(folder, 'app', 'custom', 'data.bin'), randomBytes(extraBytes))
    const job = await this.#session.submit(folder, { signal: AbortSignal.timeout(20_000) })
    await this.#session.wait(job, { signal: AbortSignal.timeout(60_000) })
    const { status, meta } = await this.#session.show(job)
    expect(status, String(meta['reason'])).toBe('FINISHED:COMPLETED')
    return job
  }

  get session(): AdminSession {
    return this.#session
  }

  /** Waits for an entry that was made since the attack began. */
  async recorded(place: string, wanted: WantedEntry): Promise<AuditEntry> {
    const file = this.#recordOf(place)
    let wake = () => {}
    const watcher = watch(file, () => wake())
    const late = AbortSignal.timeout(RECORD_WITHIN_MS)
    late.addEventListener('abort', () => wake())
    try {
      for (;;) {
        const next = Promise.withResolvers<void>()
        wake = next.resolve
        const fromSeq = wanted.folded === true ? undefined : this.#marks.get(place)
        const entries = await this.#entries(place, fromSeq)
        const found = entries.find((entry) => fits(entry, wanted))
        if (found !== undefined) {
          this.#isRecorded = true
          return found
        }
        if (late.aborted)
          throw new Error(
            `${place} has no entry like ${JSON.stringify({ ...wanted, text: String(wanted.text) })}, but\n${entries.map((entry) => JSON.stringify(entry)).join('\n')}`,
          )
        await next.promise
      }
    } finally {
      watcher.close()
    }
  }

  /** A name for a person's cell. */
  personCell(): string {
    return `_admin_${randomUUID()}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const attacker of this.#attackers.splice(0)) await attacker[Symbol.asyncDispose]()
    await this.#session[Symbol.asyncDispose]()
    await this.league[Symbol.asyncDispose]()
  }

  async #entries(place: string, fromSeq?: number): Promise<AuditEntry[]> {
    const entries: AuditEntry[] = []
    for await (const entry of readAuditLog(this.#recordOf(place), { fromSeq })) entries.push(entry)
    return entries
  }

  #recordOf(place: string): string {
    return join(this.league.kit(place), 'state', 'audit.jsonl')
  }
}

function fits(entry: AuditEntry, { actor, act, target, code, text }: WantedEntry): boolean {
  return (
    entry.outcome === 'refused' &&
    (actor === undefined || entry.actor.name === actor) &&
    (act === undefined || entry.act === act) &&
    (target === undefined || entry.target === target) &&
    (code === undefined || entry.code === code) &&
    (text === undefined || text.test(entry.text))
  )
}
