import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, messageOf } from '@hanse/contract'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import { replaceFile } from '../state/write-file.ts'
import type { Kit } from './kit.ts'

/** What this participant has learnt of its server, beside what the kit says. */
export interface KnownServer {
  /** Capabilities that the server proved to have, by name and version; one that has less now is not believed. */
  readonly capabilities: readonly string[]
}

type KitFacts = Pick<Kit, 'directory' | 'server'>

const FILE = join('state', 'known-server.json')
const READ_ONLY: readonly string[] = ['EACCES', 'EPERM', 'EROFS']

const fileSchema = z.strictObject({
  format_version: z.literal(1),
  server: z.string(),
  capabilities: z.array(z.string().max(128)).max(32),
})

/**
 * Reads what an earlier login has left in the kit; nothing before the first, or of another server.
 * @throws {ProvisionError} `ERR_KIT_FILE` if the file is there and cannot be used
 */
export async function readKnownServer({ directory, server }: KitFacts): Promise<KnownServer> {
  const path = join(directory, FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { capabilities: [] }
    throw unusable(path, error)
  }
  try {
    const file = fileSchema.parse(JSON.parse(text))
    return { capabilities: file.server === server.identity ? file.capabilities : [] }
  } catch (error) {
    throw unusable(path, error)
  }
}

/** Notes what the server proved to have, if that is news. A kit that cannot be written to learns nothing. */
export async function rememberServer(
  { directory, server }: KitFacts,
  known: KnownServer,
  capabilities: readonly string[],
): Promise<void> {
  if (capabilities.every((one) => known.capabilities.includes(one))) return
  const path = join(directory, FILE)
  const file = { format_version: 1, server: server.identity, capabilities }
  try {
    await mkdir(join(directory, 'state'), { recursive: true, mode: 0o700 })
    await replaceFile(path, `${JSON.stringify(file, null, 2)}\n`, 0o600)
  } catch (error) {
    if (!READ_ONLY.some((code) => hasCode(error, code))) throw error
  }
}

function unusable(path: string, cause: unknown): ProvisionError {
  return new ProvisionError(
    'ERR_KIT_FILE',
    `${path} cannot be used: ${messageOf(cause)}; mend it, or delete it to trust what the server offers at the next login`,
    {},
    { cause },
  )
}
