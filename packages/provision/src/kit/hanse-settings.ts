import { z } from 'zod'
import { type OutboundProxy, outboundProxySchema } from './outbound-proxy.ts'

/** Weakest first: a site states the least level it accepts (design, confinement has named levels). */
export const CONFINEMENT_LEVELS = ['none', 'node-permission', 'namespaces'] as const

export type ConfinementLevel = (typeof CONFINEMENT_LEVELS)[number]

/** A program that trainers may run on. The site chooses it; a job names it and gives a script. */
export interface TrainerRuntime {
  /** Absolute path, or a bare name: `node` is what Hanse itself runs on, others are looked up on the site's PATH. */
  readonly program: string
  /**
   * `node`: Node's permission model can confine it too, others only the level `namespaces`; `python`: scripts that
   * import `nvflare.client` get their connection.
   */
  readonly kind: 'node' | 'python' | 'other'
  /** Between the program and the job's script. */
  readonly options: readonly string[]
  /** Added to the otherwise empty environment of the trainer. */
  readonly environment: Readonly<Record<string, string>>
  /** Absolute paths that it needs besides the system's libraries; readable for trainers. */
  readonly read: readonly string[]
}

/** What a league may ask of links beyond what stock peers can; each turns those away that cannot show it. */
export interface LinkRequirements {
  /** Every message proves that it comes from who logged in: no stock peers. */
  readonly messageProofs: boolean
  /** TLS 1.3 at the server itself. */
  readonly tls13: boolean
  /** A post-quantum key exchange, as only a Hanse peer reports it. */
  readonly postQuantum: boolean
}

/** What a place may insist on. */
export interface Requirements extends LinkRequirements {
  /** A site obeys people, and takes jobs, only with the person's own signature on it, as the `hanse` command does it. */
  readonly signedCommands: boolean
}

/** What a program that joins as a cell may do; nothing else. */
export interface ExternalCellPolicy {
  /** Ask the server which sites and jobs there are, and hear of changes. */
  readonly watch: boolean
  /** Requests that it may send to other external cells. */
  readonly send: readonly ExternalCellRule[]
}

export interface ExternalCellRule {
  readonly to: string
  /** `app.…`: no channel of the platform. */
  readonly channel: string
  /** `*` is any. */
  readonly topics: readonly string[]
}

/** What only Hanse knows of a place, from `local/hanse.json`. */
export interface HanseSettings {
  readonly confinement: { readonly minimum: ConfinementLevel }
  readonly trainerRuntimes: ReadonlyMap<string, TrainerRuntime>
  /** Between asking a job or trainer to end and ending it. */
  readonly graceSeconds: number
  /** Job processes that wait, loaded, for their job. */
  readonly spareJobProcesses: number
  /** Address that a server listens on; sites and people have no use for it. */
  readonly listenHost: string
  /** What this place insists on, and stock peers cannot do. */
  readonly require: Requirements
  /** The way out of this place's network; `undefined`: straight to the server. */
  readonly outboundProxy: OutboundProxy | undefined
  /** Silence on a link after which a sign of life is sent; must be shorter than what devices on the way allow. */
  readonly heartbeatSeconds: number
  /** How many days after a person has signed a submission it is taken, and its one use remembered. */
  readonly submissionMaxAgeDays: number
  /** Programs outside Hanse that may join this server, by the names of their cells; none unless they are named. */
  readonly externalCells: ReadonlyMap<string, ExternalCellPolicy>
  /** Modules that the admin of this place installed and trusts; code of jobs is never one. */
  readonly plugins: readonly string[]
}

const DEFAULT_RUNTIMES = {
  node: { program: 'node', kind: 'node', options: [], environment: {}, read: [] },
  python3: { program: 'python3', kind: 'python', options: [], environment: {}, read: [] },
} satisfies Record<string, z.input<typeof runtime>>

/** What new kits carry as `local/hanse.json.default`. */
export const DEFAULT_HANSE_FILE = {
  format_version: 1,
  confinement: { minimum: 'namespaces' },
  trainer_runtimes: DEFAULT_RUNTIMES,
  grace_seconds: 15,
  spare_job_processes: 1,
  listen_host: '0.0.0.0',
  require: { message_proofs: false, tls13: false, post_quantum: false, signed_commands: false },
  heartbeat_seconds: 20,
  submission_max_age_days: 30,
  plugins: [],
} as const

const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/(?!.*(?:^|\/)\.\.(?:\/|$))/, 'an absolute path without .. is allowed')

const runtime = z.strictObject({
  program: z.union(
    [absolutePath, z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/)],
    'an absolute path, or the bare name of a program, is allowed',
  ),
  kind: z.enum(['node', 'python', 'other']).default('other'),
  options: z.array(z.string().max(4096)).max(100).default([]),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string().max(32_768))
    .default({}),
  read: z.array(absolutePath).max(100).default([]),
})

const externalCell = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.-(?!client_api_)[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/,
    'the name of an external cell is that of a kit, a dot, a minus and a name, e.g. site-1.-monitor',
  )

const externalCellPolicy = z.strictObject({
  watch: z.boolean().default(false),
  send: z
    .array(
      z.strictObject({
        to: externalCell,
        channel: z
          .string()
          .regex(/^app\.[A-Za-z0-9_.-]{1,60}$/, 'channels of external cells begin with app.'),
        topics: z.array(z.string().min(1).max(128)).min(1).max(100),
      }),
    )
    .max(100)
    .default([]),
})

/** Schema of `local/hanse.json`: strict, so that a misspelt restriction is an error and not ignored. */
export const hanseSchema = z
  .strictObject({
    format_version: z.literal(1, 'format_version must be 1'),
    confinement: z
      .strictObject({ minimum: z.enum(CONFINEMENT_LEVELS) })
      .default(DEFAULT_HANSE_FILE.confinement),
    trainer_runtimes: z
      .record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/), runtime)
      .prefault(DEFAULT_RUNTIMES),
    grace_seconds: z.number().min(0).max(3600).default(DEFAULT_HANSE_FILE.grace_seconds),
    spare_job_processes: z.int().min(0).max(16).default(DEFAULT_HANSE_FILE.spare_job_processes),
    listen_host: z.string().min(1).max(255).default(DEFAULT_HANSE_FILE.listen_host),
    require: z
      .strictObject({
        message_proofs: z.boolean().default(false),
        tls13: z.boolean().default(false),
        post_quantum: z.boolean().default(false),
        signed_commands: z.boolean().default(false),
      })
      .prefault({}),
    outbound_proxy: outboundProxySchema.optional(),
    heartbeat_seconds: z.number().min(1).max(3600).default(DEFAULT_HANSE_FILE.heartbeat_seconds),
    // A site remembers uses for longer than the largest number here.
    submission_max_age_days: z
      .int()
      .min(1)
      .max(90)
      .default(DEFAULT_HANSE_FILE.submission_max_age_days),
    external_cells: z.record(externalCell, externalCellPolicy).default({}),
    plugins: z.array(z.string().min(1).max(4096)).max(100).default([]),
  })
  .transform(
    (file): HanseSettings => ({
      confinement: file.confinement,
      trainerRuntimes: new Map(Object.entries(file.trainer_runtimes)),
      graceSeconds: file.grace_seconds,
      spareJobProcesses: file.spare_job_processes,
      listenHost: file.listen_host,
      require: {
        messageProofs: file.require.message_proofs,
        tls13: file.require.tls13,
        postQuantum: file.require.post_quantum,
        signedCommands: file.require.signed_commands,
      },
      outboundProxy: file.outbound_proxy,
      heartbeatSeconds: file.heartbeat_seconds,
      submissionMaxAgeDays: file.submission_max_age_days,
      externalCells: new Map(Object.entries(file.external_cells)),
      plugins: file.plugins,
    }),
  )

/** What a place without `hanse.json` gets, e.g. a stock kit. */
export const DEFAULT_HANSE_SETTINGS: HanseSettings = hanseSchema.parse({ format_version: 1 })
