import { PkiError } from './pki-error.ts'

/** More than any chain or key needs; a bound for what peers and files may make us read. */
const MAX_PEM_CHARACTERS = 65_536

export interface PemBlock {
  readonly label: string
  readonly bytes: Uint8Array
}

const BLOCK =
  /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n((?:[A-Za-z0-9+/=]{1,76}\r?\n)+)-----END \1-----/g

/**
 * All PEM blocks of a text, in order; text around them is allowed as everywhere with PEM.
 * @param what names the text in errors, e.g. `client.crt`
 * @throws {PkiError} `ERR_PEM_FORMAT`
 */
export function parsePem(text: string, what: string): readonly PemBlock[] {
  if (text.length > MAX_PEM_CHARACTERS)
    throw new PkiError(
      'ERR_PEM_FORMAT',
      `${what} has ${text.length} characters; at most ${MAX_PEM_CHARACTERS} are read`,
      { characters: text.length, limit: MAX_PEM_CHARACTERS },
    )
  const blocks: PemBlock[] = []
  for (const [, label = '', body = ''] of text.matchAll(BLOCK))
    blocks.push({ label, bytes: Uint8Array.from(Buffer.from(body.replace(/\s/g, ''), 'base64')) })
  // A block that does not fit the grammar must not be skipped: it could hide the certificate that counts.
  const begun = text.split('-----BEGIN ').length - 1
  if (begun !== blocks.length)
    throw new PkiError('ERR_PEM_FORMAT', `${what} has a PEM block that is damaged or cut short`)
  return blocks
}

/** PEM text of one block, lines of 64 characters, with a final newline. */
export function toPem(label: string, bytes: Uint8Array): string {
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  const lines = base64.match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
