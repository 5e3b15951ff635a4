import { readFile } from 'node:fs/promises'
import { messageOf } from '@hanse/contract'
import { type Certificate, type PrivateKey, parseCertificates, parsePrivateKey } from '@hanse/pki'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import type { Protection } from './ca-passphrase.ts'
import {
  openSecret,
  type SealedSecret,
  type StateKey,
  sealedSecretSchema,
  sealSecret,
} from './sealed-secret.ts'
import { replaceFile } from './write-file.ts'

const issuedSchema = z.strictObject({
  type: z.enum(['server', 'site', 'admin']),
  /** What the kit was made from; see `participantFacts`. */
  facts: z.record(z.string(), z.string()),
  serial: z.string(),
  fingerprint: z.string(),
  not_after: z.string(),
  issued_at: z.string(),
  /** Folder below the project's, e.g. `prod_00`. */
  prod: z.string().regex(/^prod_\d\d$/),
})

const stateSchema = z.strictObject({
  format_version: z.literal(1),
  project: z.string(),
  root_cert: z.string(),
  protected_by: z.enum(['passphrase', 'key-file']),
  ca_key: sealedSecretSchema,
  issued: z.record(z.string(), issuedSchema),
  /** HMAC over everything else, under the same passphrase. */
  code: z.string(),
})

type StateFile = z.infer<typeof stateSchema>

/** One kit that was made, as the state remembers it: no key, only what was issued to whom. */
export type IssuedKit = z.infer<typeof issuedSchema>

/** A project's CA, unlocked, with the record of what it issued. Participants' private keys are not in it. */
export class ProvisionState {
  readonly root: Certificate
  readonly caKey: PrivateKey
  /** What protects the CA; the passphrase itself is not kept. */
  readonly protection: Pick<Protection, 'by' | 'keyFile'>
  readonly issued: Map<string, IssuedKit>
  readonly #project: string
  readonly #sealed: SealedSecret
  readonly #stateKey: StateKey

  private constructor(
    fields: Pick<ProvisionState, 'root' | 'caKey' | 'protection' | 'issued'>,
    project: string,
    sealed: SealedSecret,
    stateKey: StateKey,
  ) {
    this.root = fields.root
    this.caKey = fields.caKey
    const { by, keyFile } = fields.protection
    this.protection = { by, keyFile }
    this.issued = fields.issued
    this.#project = project
    this.#sealed = sealed
    this.#stateKey = stateKey
  }

  /** A new CA that has issued nothing. Nothing is written yet. */
  static async create(
    project: string,
    root: Certificate,
    caKey: PrivateKey,
    protection: Protection,
  ): Promise<ProvisionState> {
    const { sealed, key } = await sealSecret(
      caKey.exportPem(),
      { passphrase: protection.passphrase, isRandom: protection.by === 'key-file' },
      secretContext(project, root),
    )
    return new ProvisionState({ root, caKey, protection, issued: new Map() }, project, sealed, key)
  }

  /**
   * Reads a state file and unlocks it.
   * @param unlock finds what protects the CA
   * @returns `undefined` if there is no such file
   * @throws {ProvisionError} `ERR_STATE`, `ERR_PASSPHRASE_WRONG`
   */
  static async load(
    path: string,
    project: string,
    unlock: (by: Protection['by'], root: Certificate) => Promise<Protection>,
  ): Promise<ProvisionState | undefined> {
    const file = await readState(path)
    if (file === undefined) return undefined
    if (file.project !== project)
      throw new ProvisionError(
        'ERR_STATE',
        `${path} belongs to project ${file.project}, not to ${project}`,
      )
    const root = parseCertificates(file.root_cert, path, 1)[0]!
    const protection = await unlock(file.protected_by, root)
    const { secret, key } = await openSecret(
      file.ca_key,
      protection.passphrase,
      secretContext(project, root),
    )
    const { code, ...content } = file
    if (!key.verifyCode(canonical(content), code))
      throw new ProvisionError(
        'ERR_STATE',
        `${path} was changed by something else than provisioning; restore it from a backup`,
      )
    const caKey = parsePrivateKey(secret, "the CA's key")
    if (!caKey.matches(root.publicKey))
      throw new ProvisionError('ERR_STATE', `${path} has a root certificate of another key`)
    const issued = new Map(Object.entries(file.issued))
    return new ProvisionState({ root, caKey, protection, issued }, project, file.ca_key, key)
  }

  /** Replaces the state file as one step; mode 0600. */
  async save(path: string): Promise<void> {
    const content = {
      format_version: 1,
      project: this.#project,
      root_cert: this.root.pem,
      protected_by: this.protection.by,
      ca_key: this.#sealed,
      issued: Object.fromEntries(this.issued),
    } as const
    const file: StateFile = { ...content, code: this.#stateKey.code(canonical(content)) }
    await replaceFile(path, `${JSON.stringify(file, null, 2)}\n`, 0o600)
  }
}

async function readState(path: string): Promise<StateFile | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new ProvisionError(
      'ERR_STATE',
      `${path} cannot be read: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new ProvisionError(
      'ERR_STATE',
      `${path} is damaged or of another version; restore it from a backup`,
      {},
      { cause },
    )
  }
}

function secretContext(project: string, root: Certificate): string {
  return JSON.stringify(['hanse ca key', project, root.fingerprint])
}

/** One text for one value, whatever the order of keys in the file. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
