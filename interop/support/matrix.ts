import { fileURLToPath } from 'node:url'

/** Where the matrix of the last run is. */
export const MATRIX_FILE: string = fileURLToPath(
  new URL('../../.cache/interop-matrix.json', import.meta.url),
)

/** The area whose claims are `<driver>, <mode>: <server>`: a table of its own. */
export const BY_DRIVER = 'One job of a FLARE site and a Hanse site, over each driver in each mode'

/** What one test has shown. */
export interface MatrixRow {
  /** Who meets whom. */
  readonly area: string
  /** In the words of the test. */
  readonly claim: string
  readonly result: 'passed' | 'failed' | 'skipped'
}

export interface Matrix {
  /** Version of the stock package; `null` if there was none. */
  readonly flare: string | null
  readonly rows: readonly MatrixRow[]
}
