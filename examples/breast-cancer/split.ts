/**
 * Splits data/breast_cancer.csv among three hospitals and a common test set; README.md says how and why. The
 * same input always gives the same files: `node split.ts` writes them, `node split.ts --check` compares.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const DATA = join(import.meta.dirname, 'data')
const RADIUS = 0 // column of the mean radius
const DIAGNOSIS = 30

const NAMES = ['mean', 'error', 'worst'].flatMap((kind) =>
  [
    'radius',
    'texture',
    'perimeter',
    'area',
    'smoothness',
    'compactness',
    'concavity',
    'concave_points',
    'symmetry',
    'fractal_dimension',
  ].map((feature) => `${kind}_${feature}`),
)

type Row = readonly string[]

/** Numbers in [0, 1) from a seed (mulberry32): the split must not change with the runtime. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function shuffled(rows: readonly Row[], random: () => number): Row[] {
  const result = [...rows]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}

function split(): Map<string, string> {
  const random = createRandom(2026)
  // The first line of the original counts rows and columns and names the classes.
  const rows = readFileSync(join(DATA, 'breast_cancer.csv'), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(','))
  const malignant = shuffled(
    rows.filter((row) => row[DIAGNOSIS] === '0'),
    random,
  )
  const benign = shuffled(
    rows.filter((row) => row[DIAGNOSIS] === '1'),
    random,
  )
  const bySize = (a: Row, b: Row): number => Number(a[RADIUS]) - Number(b[RADIUS])

  // A quarter of each class, at random: what all hospitals are measured by.
  const test = [...malignant.splice(0, 53), ...benign.splice(0, 89)]
  const fewMalignant = malignant.splice(0, 6)
  const fewBenign = benign.splice(0, 8)
  malignant.sort(bySize)
  benign.sort(bySize)
  const unclear = [...malignant.splice(0, 12), ...benign.splice(-28)]
  const hospitals = new Map([
    ['hospital-a', [...benign, ...fewMalignant]],
    ['hospital-b', [...malignant, ...fewBenign]],
    ['hospital-c', unclear],
  ])

  const files = new Map<string, string>()
  for (const [name, patients] of hospitals) {
    files.set(`${name}/train.csv`, toCsv(shuffled(patients, random)))
    files.set(`${name}/test.csv`, toCsv(test))
  }
  return files
}

function toCsv(rows: readonly Row[]): string {
  return `${[[...NAMES, 'benign'], ...rows].map((row) => row.join(',')).join('\n')}\n`
}

for (const [name, content] of split()) {
  const path = join(DATA, name)
  if (!process.argv.includes('--check')) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  } else if (readFileSync(path, 'utf8') !== content) {
    console.error(`${name} differs from what split.ts makes`)
    process.exitCode = 1
  }
}
