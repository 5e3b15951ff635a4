import { createHash } from 'node:crypto'
import type { JsonObject } from '@hanse/contract'
import { type PrivateKey, signText } from '@hanse/pki'
import { findConfig, readConfig } from './config-file.ts'
import { byCodePoint } from './content-hash.ts'
import type { JobFiles } from './job-files.ts'
import { canonicalText } from './json-object.ts'
import {
  isSignatureFile,
  MANIFEST_FILE,
  SIGNATURE_FILE,
  SUBMITTER_FILE,
} from './signature-files.ts'
import type { SubmissionProof } from './submission-proof.ts'

/** Who signs: the key and the chain that goes with it, leaf first. */
export interface JobSigner {
  readonly key: PrivateKey
  readonly chainPem: string
}

/** Largest file that is signed or verified; a signature needs it whole. */
export const MAX_SIGNED_BYTES = 256 * 1024 * 1024

/** Keys of `meta.json` that decide where and how an app runs; apps carry them, signed, to the sites. */
export const BOUND_META_KEYS = [
  'deploy_map',
  'resource_spec',
  'launcher_spec',
  'min_clients',
  'mandatory_clients',
  'scope',
] as const

/**
 * Signs a job as its submitter, in stock's format (`spec/provision.md` §5), without touching the source: files
 * of earlier signatures are replaced. Stock's signatures do not cover names and places, so the folder of the job
 * and of each app also get a manifest, which is signed as any other file and which stock does not mind.
 * @param files one top folder with everything in it, or everything without a top folder
 * @param submission what it is signed for; the same in every manifest
 */
export async function signJob(
  files: JobFiles,
  signer: JobSigner,
  submission?: SubmissionProof,
): Promise<JobFiles> {
  const root = files.topFolder() ?? ''
  let result = files.without(isSignatureFile)
  const job = result.below(root)
  const metaPath = findConfig(job, '', 'meta')
  const meta = metaPath === undefined ? {} : (await readConfig(job, metaPath)).content
  for (const app of appFolders(job)) {
    const place = joined(root, app)
    const manifest = await manifestOf(result.below(place), 'app', meta, submission)
    result = result.with(new Map([[joined(place, MANIFEST_FILE), manifest]]))
  }
  const manifest = await manifestOf(result.below(root), 'job', meta, submission)
  result = result.with(new Map([[joined(root, MANIFEST_FILE), manifest]]))
  return result.with(await signatures(result, root, signer))
}

function appFolders(job: JobFiles): readonly string[] {
  return [...job.folders].filter(
    (folder) => !folder.includes('/') && job.folders.has(`${folder}/config`),
  )
}

/** The signature file and the certificate of every folder from `root` down. */
async function signatures(
  files: JobFiles,
  root: string,
  { key, chainPem }: JobSigner,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const extra = new Map<string, Uint8Array>()
  const folders = [...files.folders].filter((path) => path === root || isBelow(path, root))
  for (const folder of new Set([root, ...folders])) {
    const entries = new Map<string, string>()
    for (const [name, kind] of entriesOf(files, folder))
      entries.set(
        name,
        signText(
          key,
          kind === 'folder' ? name : await files.read(joined(folder, name), MAX_SIGNED_BYTES),
        ),
      )
    extra.set(
      joined(folder, SIGNATURE_FILE),
      new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries))),
    )
    extra.set(joined(folder, SUBMITTER_FILE), new TextEncoder().encode(chainPem))
  }
  return extra
}

/** Direct entries of a folder that a signature covers. */
export function entriesOf(files: JobFiles, folder: string): ReadonlyMap<string, 'file' | 'folder'> {
  const entries = new Map<string, 'file' | 'folder'>()
  const prefix = folder === '' ? '' : `${folder}/`
  const isDirect = (path: string) =>
    path.startsWith(prefix) && path !== folder && !path.slice(prefix.length).includes('/')
  for (const path of files.folders)
    if (isDirect(path)) entries.set(path.slice(prefix.length), 'folder')
  for (const path of files.files.keys()) {
    const name = path.slice(prefix.length)
    if (isDirect(path) && name !== SIGNATURE_FILE && name !== SUBMITTER_FILE)
      entries.set(name, 'file')
  }
  return entries
}

/** What {@link MANIFEST_FILE} says; canonical JSON. */
export interface JobManifest {
  readonly v: 1
  readonly kind: 'job' | 'app'
  /** SHA-256 by path, without signature files. */
  readonly files: Readonly<Record<string, string>>
  readonly folders: readonly string[]
  /** {@link BOUND_META_KEYS} of the job's metadata. */
  readonly meta: JsonObject
  /** Absent where it is signed, but not submitted to anybody. */
  readonly submission?: SubmissionProof | undefined
}

async function manifestOf(
  files: JobFiles,
  kind: 'job' | 'app',
  meta: JsonObject,
  submission: SubmissionProof | undefined,
): Promise<Uint8Array> {
  const manifest: JobManifest = {
    v: 1,
    kind,
    ...(await inventoryOf(files)),
    meta: boundMeta(meta),
    ...(submission !== undefined && { submission }),
  }
  return new TextEncoder().encode(canonicalText(manifest))
}

/** The files and folders that a manifest lists. */
export async function inventoryOf(
  files: JobFiles,
): Promise<Pick<JobManifest, 'files' | 'folders'>> {
  const hashes: [string, string][] = []
  for (const [path, member] of files.files) {
    const name = path.slice(path.lastIndexOf('/') + 1)
    // The own manifest is left out; those of apps are listed in that of the job.
    if (name === SIGNATURE_FILE || name === SUBMITTER_FILE || path === MANIFEST_FILE) continue
    const hash = createHash('sha256')
    for await (const chunk of member.read()) hash.update(chunk)
    hashes.push([path, hash.digest('hex')])
  }
  return {
    files: Object.fromEntries(hashes.toSorted(([a], [b]) => byCodePoint(a, b))),
    folders: [...files.folders].toSorted(byCodePoint),
  }
}

/** The part of metadata that a manifest binds. */
export function boundMeta(meta: JsonObject): JsonObject {
  return Object.fromEntries(
    BOUND_META_KEYS.flatMap((key) => {
      const value = Object.hasOwn(meta, key) ? meta[key] : undefined
      return value === undefined ? [] : [[key, value] as const]
    }),
  )
}

/** A path below a folder; the empty folder is the top. */
export function joined(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}

function isBelow(path: string, folder: string): boolean {
  return folder === '' || path.startsWith(`${folder}/`)
}
