import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'

/** Writes a file that must not exist yet; `mode` holds whatever the umask says. */
export async function writeNewFile(path: string, content: string, mode: number): Promise<void> {
  // Created closed and opened up afterwards: nobody can read a secret in between.
  const file = await open(path, 'wx', mode & 0o600)
  try {
    await file.writeFile(content)
    await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Replaces a file as one step: readers see the old content or the new one, also after a crash. */
export async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeNewFile(temporary, content, mode)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
