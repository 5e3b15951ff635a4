import { createHash, type KeyObject } from 'node:crypto'
import { type JsonObject, messageOf } from '@hanse/contract'
import {
  type Certificate,
  parseCertificates,
  personRole,
  verifyChain,
  verifyText,
} from '@hanse/pki'
import { z } from 'zod'
import type { JobFiles } from './job-files.ts'
import { canonicalText, isJsonObject } from './json-object.ts'
import { quoted } from './names.ts'
import { boundMeta, entriesOf, inventoryOf, joined, MAX_SIGNED_BYTES } from './sign-job.ts'
import { MANIFEST_FILE, SIGNATURE_FILE, SUBMITTER_FILE } from './signature-files.ts'
import { type SubmissionProof, submissionProofSchema } from './submission-proof.ts'

export interface VerifyJobOptions {
  /** The project's root certificates; nothing that comes with the job is trusted. */
  readonly roots: readonly Certificate[]
  /** Ms since the epoch at which the signer's chain must be valid. */
  readonly now: number
  /** Who submitted the job; the signer must be this person. Absent: any person of the project. */
  readonly submitter?:
    | { readonly name: string; readonly org?: string; readonly role?: string }
    | undefined
  /** Metadata that came another way; a manifest must agree with it on what it binds. */
  readonly meta?: JsonObject | undefined
  /**
   * Refuse signatures without a manifest. Default false: stock's tools write none, and such a job may have had
   * files renamed or exchanged among those that the same person signed.
   */
  readonly requireManifest?: boolean | undefined
}

/** Who signed, as the verified certificate says. */
export interface Signer {
  readonly name: string
  readonly org: string
  readonly role: string
  readonly certificate: Certificate
}

/** Why a signature is not accepted. Codes are stable. */
export type SignatureCode =
  | 'unsigned'
  | 'signature-missing'
  | 'signature-format'
  | 'certificate-missing'
  | 'certificate-differs'
  | 'certificate-invalid'
  | 'signer-not-a-person'
  | 'signer-not-submitter'
  | 'file-changed'
  | 'file-removed'
  | 'file-added'
  | 'folder-changed'
  | 'folder-removed'
  | 'folder-added'
  | 'manifest-missing'
  | 'manifest-format'
  /** A file is where the signer had none: renamed, exchanged, or from another job. */
  | 'file-moved'
  | 'meta-changed'

export type SignatureVerdict =
  | {
      readonly ok: true
      readonly signer: Signer
      /** Names and places are covered too, and the metadata that decides where the app runs. */
      readonly manifest: boolean
      /** What it was signed for, where the manifest says so. */
      readonly submission: SubmissionProof | undefined
      /**
       * SHA-256 of the signatures of the app's own configuration, hexadecimal: no app goes without, and each signing
       * makes new ones. At most 16; none of a whole job.
       */
      readonly seals: readonly string[]
    }
  | {
      readonly ok: false
      readonly code: SignatureCode
      /** Path in the tree. */
      readonly place: string
      /** For people, and for the audit record. */
      readonly reason: string
    }

const MAX_SIGNATURE_FILE_BYTES = 8 * 1024 * 1024
const MAX_CERTIFICATE_BYTES = 65_536

/**
 * Verifies a signed tree: a whole job below its folder, or one app as it is deployed. Every file and folder must be
 * signed and every signature must have its file, all by one person of the project. Never throws for what is in
 * the tree.
 * @param files relative to the signed folder
 */
export async function verifyJob(
  files: JobFiles,
  options: VerifyJobOptions,
): Promise<SignatureVerdict> {
  try {
    const signer = await verifySigner(files, options)
    for (const folder of ['', ...files.folders])
      await verifyFolder(files, folder, signer.certificate)
    const manifest = await verifyManifest(files, options)
    return {
      ok: true,
      signer,
      manifest: manifest !== undefined,
      submission: manifest?.submission,
      seals: await sealsOf(files),
    }
  } catch (error) {
    if (error instanceof Refusal) return error.verdict
    return refusal('signature-format', '', `the signed files cannot be read: ${messageOf(error)}`)
      .verdict
  }
}

/** Ends a verification from inside; never leaves this module. */
class Refusal extends Error {
  readonly verdict: SignatureVerdict & { readonly ok: false }

  constructor(verdict: SignatureVerdict & { readonly ok: false }) {
    super(verdict.reason)
    this.verdict = verdict
  }
}

function refusal(code: SignatureCode, place: string, reason: string): Refusal {
  return new Refusal({ ok: false, code, place, reason })
}

async function verifySigner(files: JobFiles, options: VerifyJobOptions): Promise<Signer> {
  if (!files.files.has(SIGNATURE_FILE))
    throw refusal('unsigned', SIGNATURE_FILE, 'it is not signed')
  if (!files.files.has(SUBMITTER_FILE))
    throw refusal('certificate-missing', SUBMITTER_FILE, "the submitter's certificate is missing")
  const pem = await files.readText(SUBMITTER_FILE, MAX_CERTIFICATE_BYTES)
  let certificate: Certificate
  try {
    certificate = verifyChain(
      parseCertificates(pem, "the submitter's certificate"),
      options.roots,
      {
        now: options.now,
      },
    )
  } catch (error) {
    throw refusal('certificate-invalid', SUBMITTER_FILE, messageOf(error))
  }
  const { commonName: name = '', organization: org = '', kitMark } = certificate
  const role = personRole(certificate)
  if (role === '' || (kitMark !== undefined && kitMark.type !== 'admin'))
    throw refusal(
      'signer-not-a-person',
      SUBMITTER_FILE,
      `the certificate of ${quoted(name)} is that of a site or server, not of a person with a role; only people submit jobs`,
    )
  const { submitter } = options
  const differs =
    submitter !== undefined &&
    (submitter.name !== name ||
      (submitter.org !== undefined && submitter.org !== org) ||
      (submitter.role !== undefined && submitter.role !== role))
  if (differs)
    throw refusal(
      'signer-not-submitter',
      SUBMITTER_FILE,
      `it was signed by ${quoted(name)} (${org}, ${role}) but submitted by ${quoted(submitter.name)} (${submitter.org ?? '?'}, ${submitter.role ?? '?'})`,
    )
  for (const folder of files.folders) {
    const place = joined(folder, SUBMITTER_FILE)
    if (!files.files.has(place)) continue
    if ((await files.readText(place, MAX_CERTIFICATE_BYTES)) !== pem)
      throw refusal('certificate-differs', place, 'the folders were signed by different people')
  }
  return { name, org, role, certificate }
}

const SignatureFile = z.record(z.string(), z.string())

async function verifyFolder(
  files: JobFiles,
  folder: string,
  { publicKey }: Certificate,
): Promise<void> {
  const place = joined(folder, SIGNATURE_FILE)
  if (!files.files.has(place))
    throw refusal('signature-missing', place, `the folder ${quoted(folder)} has no signatures`)
  if (!files.files.has(joined(folder, SUBMITTER_FILE)))
    throw refusal(
      'certificate-missing',
      joined(folder, SUBMITTER_FILE),
      `the folder ${quoted(folder)} has no certificate of its signer`,
    )
  const signatures = await readSignatures(files, place)
  const entries = entriesOf(files, folder)
  for (const [name, signature] of signatures) {
    const path = joined(folder, name)
    const kind = entries.get(name)
    if (kind === 'file') await verifyFile(files, path, signature, publicKey)
    else if (kind === 'folder') {
      if (!verifyText(publicKey, name, signature))
        throw refusal(
          'folder-changed',
          path,
          `the folder ${quoted(path)} is not the one that was signed`,
        )
    } else {
      const wasFolder = verifyText(publicKey, name, signature)
      throw refusal(
        wasFolder ? 'folder-removed' : 'file-removed',
        path,
        `${quoted(path)} was signed but is not there`,
      )
    }
  }
  for (const [name, kind] of entries)
    if (!signatures.has(name))
      throw refusal(
        kind === 'file' ? 'file-added' : 'folder-added',
        joined(folder, name),
        `the ${kind} ${quoted(joined(folder, name))} is not signed`,
      )
}

const CONFIG_FILE = /^config_fed_client\.(json|conf|yml|yaml)(\.default)?$/

const MAX_SEALS = 16

/** Of what `verifyFolder` has verified: of the configuration, wherever below `config` it is. */
async function sealsOf(files: JobFiles): Promise<readonly string[]> {
  const seals: string[] = []
  for (const folder of files.folders) {
    if (folder !== 'config' && !folder.startsWith('config/')) continue
    for (const [name, signature] of await readSignatures(files, joined(folder, SIGNATURE_FILE)))
      if (CONFIG_FILE.test(name) && seals.length < MAX_SEALS)
        seals.push(createHash('sha256').update(signature).digest('hex'))
  }
  return seals
}

async function readSignatures(
  files: JobFiles,
  place: string,
): Promise<ReadonlyMap<string, string>> {
  const text = await files.readText(place, MAX_SIGNATURE_FILE_BYTES)
  try {
    return new Map(Object.entries(SignatureFile.parse(JSON.parse(text))))
  } catch {
    throw refusal('signature-format', place, 'the signature file is not an object of texts')
  }
}

async function verifyFile(
  files: JobFiles,
  path: string,
  signature: string,
  publicKey: KeyObject,
): Promise<void> {
  if (!verifyText(publicKey, await files.read(path, MAX_SIGNED_BYTES), signature))
    throw refusal('file-changed', path, `${quoted(path)} is not as it was signed`)
}

const Manifest = z.strictObject({
  v: z.literal(1),
  kind: z.enum(['job', 'app']),
  files: z.record(z.string(), z.string()),
  folders: z.array(z.string()),
  meta: z.record(z.string(), z.unknown()),
  submission: submissionProofSchema.optional(),
})

/** @returns `undefined` if there is none and none is required */
async function verifyManifest(
  files: JobFiles,
  { requireManifest = false, meta }: VerifyJobOptions,
): Promise<z.infer<typeof Manifest> | undefined> {
  if (!files.files.has(MANIFEST_FILE)) {
    if (requireManifest)
      throw refusal(
        'manifest-missing',
        MANIFEST_FILE,
        'it was signed without a manifest, which this place requires; submit it with hanse',
      )
    return undefined
  }
  const text = await files.readText(MANIFEST_FILE, MAX_SIGNATURE_FILE_BYTES)
  let manifest: z.infer<typeof Manifest>
  try {
    manifest = Manifest.parse(JSON.parse(text))
  } catch {
    throw refusal('manifest-format', MANIFEST_FILE, 'the manifest cannot be read')
  }
  const actual = await inventoryOf(files)
  const listed = new Map(Object.entries(manifest.files))
  for (const [path, hash] of Object.entries(actual.files)) {
    const expected = listed.get(path)
    if (expected !== hash)
      throw refusal(
        'file-moved',
        path,
        expected === undefined
          ? `${quoted(path)} was signed under another name or for another job`
          : `${quoted(path)} has the content of another file of the same signer`,
      )
    listed.delete(path)
  }
  const [removed] = listed.keys()
  if (removed !== undefined)
    throw refusal('file-removed', removed, `${quoted(removed)} was signed but is not there`)
  const folders = new Set(manifest.folders)
  for (const folder of actual.folders)
    if (!folders.delete(folder))
      throw refusal('folder-added', folder, `the folder ${quoted(folder)} was not signed there`)
  const [missing] = folders
  if (missing !== undefined)
    throw refusal('folder-removed', missing, `the folder ${quoted(missing)} is not there`)
  if (meta !== undefined) verifyMeta(manifest.meta, meta)
  return manifest
}

function verifyMeta(signed: unknown, meta: JsonObject): void {
  const expected = isJsonObject(signed) ? signed : {}
  const actual = boundMeta(meta)
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)]))
    if (canonicalText(expected[key]) !== canonicalText(actual[key]))
      throw refusal(
        'meta-changed',
        `meta.json#/${key}`,
        `the signer said ${quoted(expected[key])} for ${key}, but ${quoted(actual[key])} came with the job`,
      )
}
