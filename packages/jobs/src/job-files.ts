import { type ArchiveMember, memberOf } from '@hanse/archive'
import { JobsError } from './jobs-error.ts'

/** A set of files and folders by path, wherever they are: an archive, a disk, memory. Never changes. */
export class JobFiles {
  readonly files: ReadonlyMap<string, ArchiveMember & { readonly kind: 'file' }>
  /** Includes folders that only the paths of files imply. */
  readonly folders: ReadonlySet<string>

  constructor(members: Iterable<ArchiveMember>) {
    const files = new Map<string, ArchiveMember & { readonly kind: 'file' }>()
    const folders = new Set<string>()
    for (const member of members) {
      const parts = member.path.split('/')
      const depth = member.kind === 'folder' ? parts.length : parts.length - 1
      for (let count = 1; count <= depth; count++) folders.add(parts.slice(0, count).join('/'))
      if (member.kind === 'file') files.set(member.path, member)
    }
    this.files = files
    this.folders = folders
  }

  /**
   * Reads a file whole.
   * @throws {JobsError} `ERR_JOB_LAYOUT` if it is not there or larger than `maxBytes`
   */
  async read(path: string, maxBytes: number): Promise<Uint8Array> {
    const member = this.files.get(path)
    if (member === undefined) throw new JobsError('ERR_JOB_LAYOUT', `there is no file ${path}`)
    if (member.size > maxBytes)
      throw new JobsError(
        'ERR_JOB_LAYOUT',
        `${path} has ${member.size} octets; at most ${maxBytes} are read`,
      )
    const bytes = new Uint8Array(member.size)
    let position = 0
    for await (const chunk of member.read()) {
      if (position + chunk.length > bytes.length)
        throw new JobsError('ERR_JOB_LAYOUT', `${path} is longer than it was`)
      bytes.set(chunk, position)
      position += chunk.length
    }
    if (position !== bytes.length)
      throw new JobsError('ERR_JOB_LAYOUT', `${path} is shorter than it was`)
    return bytes
  }

  /** Reads a file as UTF-8. @throws {JobsError} as `read`, and for other octets */
  async readText(path: string, maxBytes: number): Promise<string> {
    const bytes = await this.read(path, maxBytes)
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      throw new JobsError('ERR_JOB_LAYOUT', `${path} is not UTF-8 text`, {}, { cause })
    }
  }

  /** What is below `folder`, with paths relative to it. */
  below(folder: string): JobFiles {
    if (folder === '') return this
    const prefix = `${folder}/`
    const members: ArchiveMember[] = []
    for (const member of this.members())
      if (member.path.startsWith(prefix))
        members.push({ ...member, path: member.path.slice(prefix.length) })
    return new JobFiles(members)
  }

  /** The same with `extra` files added or replaced. */
  with(extra: ReadonlyMap<string, Uint8Array>): JobFiles {
    return new JobFiles([
      ...this.members(),
      ...[...extra].map(([path, bytes]) => memberOf(path, bytes)),
    ])
  }

  /** The same without the files that `isLeftOut`; folders stay. */
  without(isLeftOut: (path: string) => boolean): JobFiles {
    return new JobFiles(
      [...this.members()].filter(({ kind, path }) => kind === 'folder' || !isLeftOut(path)),
    )
  }

  /** Everything, sorted, folders before their content: what an archive is written from. */
  members(): readonly ArchiveMember[] {
    const folders = [...this.folders].map((path): ArchiveMember => ({ kind: 'folder', path }))
    return [...folders, ...this.files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
  }

  /** The one folder at the top that everything is in, as job archives have it. */
  topFolder(): string | undefined {
    const tops = new Set([...this.folders].map((path) => path.split('/')[0]))
    const [top] = tops
    const inside = [...this.files.keys()].every((path) => path.includes('/'))
    return tops.size === 1 && inside ? top : undefined
  }
}
