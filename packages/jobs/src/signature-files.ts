/** One in every folder: base64 signatures by entry name (`spec/provision.md` §5). */
export const SIGNATURE_FILE = '.__nvfl_sig.json'

/** One in every folder: the submitter's certificate chain in PEM. */
export const SUBMITTER_FILE = '.__nvfl_submitter.crt'

/** In the folder of the job and in that of every app: what must be there, and where. Signed as any file. */
export const MANIFEST_FILE = '.__hanse_manifest.json'

/** True for files that signing adds; they are no content of the job. */
export function isSignatureFile(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return name === SIGNATURE_FILE || name === SUBMITTER_FILE || name === MANIFEST_FILE
}
