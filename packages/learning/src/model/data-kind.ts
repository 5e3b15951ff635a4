import { LearningError } from '../learning-error.ts'

/** What a DXO holds (workflows.md §1.1). */
export const DATA_KINDS = [
  'FL_MODEL',
  'WEIGHTS',
  'WEIGHT_DIFF',
  'METRICS',
  'ANALYTIC',
  'COLLECTION',
  'STATISTICS',
  'PSI',
  'APP_DEFINED',
] as const

export type DataKind = (typeof DATA_KINDS)[number]

const KNOWN: ReadonlySet<unknown> = new Set(DATA_KINDS)

/** True for the name of a data kind. */
export function isDataKind(value: unknown): value is DataKind {
  return KNOWN.has(value)
}

/**
 * The kind that a decoded value names: stock peers send an enumeration member, some send its text.
 * @throws {LearningError} `ERR_DXO`
 */
export function readDataKind(value: unknown): DataKind {
  const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : value
  if (isDataKind(name)) return name
  throw new LearningError('ERR_DXO', `"${String(name).slice(0, 40)}" is no kind of data`)
}
