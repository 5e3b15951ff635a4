import {
  type Certificate,
  type ParticipantType,
  type PrivateKey,
  sha256Hex,
  signText,
  verifyText,
} from '@hanse/pki'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import { type KitEntry, KitFile, textEntry } from './kit-layout.ts'

const manifestSchema = z.strictObject({
  format_version: z.literal(1),
  project: z.string(),
  name: z.string(),
  type: z.enum(['server', 'site', 'admin']),
  /** SHA-256 of the leaf certificate: a manifest fits one certificate only. */
  certificate: z.string(),
  files: z.record(
    z.string(),
    z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().min(0) }),
  ),
})

export interface KitOwner {
  readonly project: string
  readonly name: string
  readonly type: ParticipantType
  readonly certificate: Certificate
}

/** What a manifest covers: `startup/` whole, and files beside it such as the readme; not `local/` nor `transfer/`. */
function isCovered(path: string): boolean {
  return (
    !path.startsWith('local/') &&
    !path.startsWith('transfer/') &&
    path !== KitFile.manifest &&
    path !== KitFile.manifestSignature
  )
}

/** The manifest of a finished kit and its signature by the project's CA. */
export function manifestEntries(
  owner: KitOwner,
  entries: Iterable<readonly [path: string, entry: KitEntry]>,
  caKey: PrivateKey,
): readonly (readonly [path: string, entry: KitEntry])[] {
  const files = [...entries]
    .filter(([path]) => isCovered(path))
    .map(([path, { content }]) => {
      const bytes = new TextEncoder().encode(content)
      return [path, { sha256: sha256Hex(bytes), size: bytes.length }] as const
    })
    .sort(([a], [b]) => (a < b ? -1 : 1))
  const manifest = {
    format_version: 1,
    project: owner.project,
    name: owner.name,
    type: owner.type,
    certificate: owner.certificate.fingerprint,
    files: Object.fromEntries(files),
  }
  const text = `${JSON.stringify(manifest, null, 2)}\n`
  return [
    [KitFile.manifest, textEntry(text)],
    [KitFile.manifestSignature, textEntry(`${signText(caKey, text)}\n`)],
  ]
}

export interface KitContent {
  /** Octets of every file below `startup/`, read once and also used afterwards. */
  readonly startup: ReadonlyMap<string, Uint8Array>
  /** Reads a covered file outside `startup/`; `undefined` if it is not there. */
  readonly readOther: (path: string) => Promise<Uint8Array | undefined>
}

/**
 * Compares a kit with its manifest. Files that a running participant adds beside `startup/` are no concern.
 * @param root the one that the kit's certificate chain ends at; another one in the kit's `rootCA.pem` may have been
 *   added by whoever changed the kit
 * @throws {ProvisionError} `ERR_KIT_MANIFEST_MISSING`, `ERR_KIT_MANIFEST`, `ERR_KIT_INTEGRITY` with every file
 */
export async function verifyManifest(
  owner: KitOwner,
  root: Certificate,
  { startup, readOther }: KitContent,
): Promise<void> {
  const text = startup.get(KitFile.manifest)
  const signature = startup.get(KitFile.manifestSignature)
  if (text === undefined || signature === undefined)
    throw new ProvisionError(
      'ERR_KIT_MANIFEST_MISSING',
      `the kit of ${owner.name} must have a signed manifest, but ${text === undefined ? KitFile.manifest : KitFile.manifestSignature} is missing; restore it from the delivered kit`,
    )
  const signed = new TextDecoder().decode(signature).trim()
  if (!verifyText(root.publicKey, text, signed))
    throw new ProvisionError(
      'ERR_KIT_MANIFEST',
      `${KitFile.manifest} is not signed by the CA of project ${owner.project}; restore it from the delivered kit`,
    )
  const manifest = readManifest(text)
  if (
    manifest.project !== owner.project ||
    manifest.name !== owner.name ||
    manifest.type !== owner.type ||
    manifest.certificate !== owner.certificate.fingerprint
  )
    throw new ProvisionError(
      'ERR_KIT_MANIFEST',
      `${KitFile.manifest} belongs to the ${manifest.type} ${manifest.name} of project ${manifest.project} and its certificate, not to this kit (${owner.type} ${owner.name} of ${owner.project})`,
    )

  const listed = new Map(Object.entries(manifest.files))
  const changed: string[] = []
  const missing: string[] = []
  for (const [path, { sha256, size }] of listed) {
    const bytes = path.startsWith('startup/') ? startup.get(path) : await readOther(path)
    if (bytes === undefined) missing.push(path)
    else if (bytes.length !== size || sha256Hex(bytes) !== sha256) changed.push(path)
  }
  const extra = [...startup.keys()].filter((path) => isCovered(path) && !listed.has(path))
  const differences = [
    ...describe('changed', changed),
    ...describe('missing', missing),
    ...describe('not in the manifest', extra),
  ]
  if (differences.length > 0)
    throw new ProvisionError(
      'ERR_KIT_INTEGRITY',
      `the kit of ${owner.name} is not as its CA signed it: ${differences.join('; ')}. Restore the delivered kit; a site's own settings belong in local/`,
      { changed: changed.length, missing: missing.length, extra: extra.length },
    )
}

function readManifest(text: Uint8Array): z.infer<typeof manifestSchema> {
  try {
    return manifestSchema.parse(JSON.parse(new TextDecoder().decode(text)))
  } catch (cause) {
    throw new ProvisionError(
      'ERR_KIT_MANIFEST',
      `${KitFile.manifest} has a form that this version does not know`,
      {},
      { cause },
    )
  }
}

function describe(what: string, paths: readonly string[]): readonly string[] {
  return paths.length === 0 ? [] : [`${what}: ${paths.toSorted().join(', ')}`]
}
