import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { ProvisionError } from '../provision-error.ts'
import { writeNewFile } from './write-file.ts'

/**
 * Asks for the passphrase of a project's CA: a prompt, a file or the environment, whatever the caller offers.
 * `undefined`: there is none, a random key in the user's configuration folder takes its place.
 */
export type AskPassphrase = (question: {
  readonly project: string
  /** `create`: a new CA, a prompt should ask twice. `open`: must be the one given at creation. */
  readonly purpose: 'create' | 'open'
}) => string | undefined | Promise<string | undefined>

/** Shorter ones are refused: scrypt cannot make up for them. */
export const MIN_PASSPHRASE_CHARACTERS = 8

export interface Protection {
  readonly by: 'passphrase' | 'key-file'
  readonly passphrase: string
  /** Path of the key file, when there is one. */
  readonly keyFile: string | undefined
}

/** What protects a new CA. Makes the key file if no passphrase is given. */
export async function protectNewCa(
  ask: AskPassphrase | undefined,
  { project, fingerprint, configDirectory, projectDirectory }: CaPlace,
): Promise<Protection> {
  const passphrase = await ask?.({ project, purpose: 'create' })
  if (passphrase !== undefined) {
    if (passphrase.length < MIN_PASSPHRASE_CHARACTERS)
      throw new ProvisionError(
        'ERR_PASSPHRASE_WRONG',
        `the passphrase has ${passphrase.length} characters; at least ${MIN_PASSPHRASE_CHARACTERS} are needed`,
      )
    return { by: 'passphrase', passphrase, keyFile: undefined }
  }
  const folder = keyFolder(configDirectory)
  const inside = relative(resolve(projectDirectory), resolve(folder))
  if (!isAbsolute(inside) && !inside.startsWith('..'))
    throw new ProvisionError(
      'ERR_OUTPUT',
      `the key that protects the CA would lie beside it, in ${folder}; give a passphrase or another configuration folder`,
    )
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const keyFile = join(folder, keyFileName(fingerprint))
  const key = randomBytes(32).toString('base64')
  await writeNewFile(keyFile, `${key}\n`, 0o600)
  return { by: 'key-file', passphrase: key, keyFile }
}

/** What opens an existing CA. */
export async function unlockCa(
  by: Protection['by'],
  ask: AskPassphrase | undefined,
  { project, fingerprint, configDirectory }: Omit<CaPlace, 'projectDirectory'>,
): Promise<Protection> {
  if (by === 'passphrase') {
    const passphrase = await ask?.({ project, purpose: 'open' })
    if (passphrase === undefined)
      throw new ProvisionError(
        'ERR_PASSPHRASE_NEEDED',
        `the CA of project ${project} is protected by a passphrase; none was given`,
      )
    return { by, passphrase, keyFile: undefined }
  }
  const keyFile = join(keyFolder(configDirectory), keyFileName(fingerprint))
  try {
    return { by, passphrase: (await readFile(keyFile, 'utf8')).trim(), keyFile }
  } catch (cause) {
    throw new ProvisionError(
      'ERR_PASSPHRASE_NEEDED',
      `the CA of project ${project} is protected by the key file ${keyFile}, which cannot be read: bring it back, or run as the user who made the project`,
      {},
      { cause },
    )
  }
}

export interface CaPlace {
  readonly project: string
  /** Of the root certificate; names the key file. */
  readonly fingerprint: string
  readonly configDirectory: string
  readonly projectDirectory: string
}

function keyFolder(configDirectory: string): string {
  return join(configDirectory, 'ca-keys')
}

function keyFileName(fingerprint: string): string {
  return `${fingerprint.slice(0, 32)}.key`
}
