import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors } from '@hanse/tensor'
import { parsePatients } from '../../examples/breast-cancer/job/app/custom/features.ts'
import { evaluate } from '../../examples/breast-cancer/job/app/custom/logistic-regression.ts'

export interface SiteResult {
  readonly name: string
  /** Patients it trained on. */
  readonly examples: number
  /** Share of the common test patients that its own model gets right. */
  readonly aloneAccuracy: number
}

export interface DemoResult {
  readonly rounds: number
  readonly sites: readonly SiteResult[]
  /** The same for the common model. */
  readonly federatedAccuracy: number
  /** File of the common model. */
  readonly model: string
  readonly testPatients: number
}

interface RoundLine {
  readonly contributions: readonly {
    readonly site: string
    readonly weight: number
    readonly metrics: Readonly<Record<string, number>>
  }[]
}

/** Reads what the hospitals reported, and measures the common model ourselves on the common test patients. */
export async function readResult(folder: string, testFile: string): Promise<DemoResult> {
  const lines = (await readFile(join(folder, 'workspace', 'rounds.jsonl'), 'utf8'))
    .trim()
    .split('\n')
  const rounds = lines.map((line) => JSON.parse(line) as RoundLine)
  const sites = (rounds.at(-1)?.contributions ?? []).map(({ site, weight, metrics }) => ({
    name: site,
    examples: weight,
    aloneAccuracy: metrics['accuracy_alone'] ?? Number.NaN,
  }))
  const model = join(folder, 'workspace', 'global_model.safetensors')
  const patients = parsePatients(await readFile(testFile, 'utf8'))
  const weights = weightsOf(await readFile(model))
  const federatedAccuracy = evaluate(weights, patients).accuracy
  return { rounds: rounds.length, sites, federatedAccuracy, model, testPatients: patients.length }
}

/** The one array of the example's model. */
function weightsOf(file: Uint8Array): Float64Array {
  const [tensor] = parseSafetensors(file).tensors.values()
  if (tensor === undefined) throw new Error('the model holds no array')
  return Float64Array.from(tensor.data, Number)
}

/** A table that a doctor understands. */
export function resultTable({ sites, federatedAccuracy, testPatients }: DemoResult): string {
  const right = (accuracy: number) =>
    `${Math.round(accuracy * testPatients)} of ${testPatients} (${(accuracy * 100).toFixed(1)} %)`
  const rows = [
    ['', 'own patients', 'right alone', 'right together'],
    ...sites.map(({ name, examples, aloneAccuracy }) => [
      name,
      String(examples),
      right(aloneAccuracy),
      right(federatedAccuracy),
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join('   '),
    )
    .join('\n')
}
