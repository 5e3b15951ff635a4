import { createHash } from 'node:crypto'
import type { JobFiles } from './job-files.ts'
import { isSignatureFile } from './signature-files.ts'

/**
 * The hash of a job's content by stock's rule (`spec/jobs.md` §2.6): files sorted by path, each with its length
 * and its data's length in front; signatures left out, so that signing changes nothing.
 * @param files of the job, relative to its folder
 * @returns `sha256:` and hexadecimal
 * @throws what reading a file throws
 */
export async function contentHash(files: JobFiles): Promise<string> {
  const hash = createHash('sha256')
  const paths = [...files.files.keys()].filter((path) => !isSignatureFile(path))
  for (const path of paths.toSorted(byCodePoint)) {
    const member = files.files.get(path)
    if (member === undefined) continue
    const name = Buffer.from(path, 'utf8')
    hash.update(lengthField(name.length)).update(name).update(lengthField(member.size))
    for await (const chunk of member.read()) hash.update(chunk)
  }
  return `sha256:${hash.digest('hex')}`
}

function lengthField(length: number): Uint8Array {
  const field = Buffer.alloc(8)
  field.writeBigUInt64BE(BigInt(length))
  return field
}

/** Python's order of texts, which differs from JavaScript's beyond the basic plane. */
export function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}
