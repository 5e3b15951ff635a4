import { open, readFile, rename } from 'node:fs/promises'
import { hasCode } from '@hanse/contract'
import { z } from 'zod'

/** Signs and checks with the server's key; texts in base64. */
export interface ListSigner {
  sign(text: string): string
  verify(text: string, signature: string): boolean
}

export interface SignedFileComponents<Content> {
  readonly signer: ListSigner
  readonly schema: z.ZodType<Content>
}

const FileSchema = z.strictObject({ list: z.string(), signature: z.string() })

/**
 * What a server must not forget and nobody else may change, as one JSON text signed with the server's key. Replaced
 * as a whole: after a crash the file is the old one or the new one.
 */
export class SignedFile<Content> {
  readonly #path: string
  readonly #signer: ListSigner
  #content: Content
  #writing: Promise<void> = Promise.resolve()
  /** A write that has not begun: it will write whatever the content is then. */
  #waiting: Promise<void> | undefined

  private constructor(path: string, signer: ListSigner, content: Content) {
    this.#path = path
    this.#signer = signer
    this.#content = content
  }

  /**
   * Reads the file; `initial` where there is none yet.
   * @throws what the file system or the schema say, or that the signature is another's
   */
  static async open<Content>(
    path: string,
    { signer, schema }: SignedFileComponents<Content>,
    initial: Content,
  ): Promise<SignedFile<Content>> {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return new SignedFile(path, signer, initial)
      throw error
    }
    const { list, signature } = FileSchema.parse(JSON.parse(text))
    if (!signer.verify(list, signature))
      throw new Error('its signature is not by the key of this server')
    return new SignedFile(path, signer, schema.parse(JSON.parse(list)))
  }

  get content(): Content {
    return this.#content
  }

  /** Takes effect at once and resolves when it is safe on the disk; changes that wait are written together. */
  replace(content: Content): Promise<void> {
    this.#content = content
    this.#waiting ??= this.#writing.then(() => {
      this.#waiting = undefined
      return this.#write()
    })
    this.#writing = this.#waiting.catch(() => undefined)
    return this.#waiting
  }

  async #write(): Promise<void> {
    const list = JSON.stringify(this.#content)
    const text = `${JSON.stringify({ list, signature: this.#signer.sign(list) }, null, 2)}\n`
    const temporary = `${this.#path}.part`
    {
      await using handle = await open(temporary, 'w', 0o600)
      await handle.writeFile(text)
      await handle.sync()
    }
    await rename(temporary, this.#path)
  }
}
