/**
 * A hospital's part: trains a logistic regression on its own patients, starting from the model that all have
 * made together, and measures that model on the test set that all have in common. Ordinary code: it knows
 * nothing of who else takes part.
 *
 * Arguments: --steps <gradient steps a round> --rate <learning rate>
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  datasets,
  getSiteName,
  init,
  isEvaluate,
  isRunning,
  isSubmitModel,
  log,
  receive,
  send,
} from '@hanse/client'
import { type Patient, parsePatients } from './features.ts'
import { evaluate, PARAMETERS, train } from './logistic-regression.ts'

/** The one array of the model, under the name that the server's NumPy persistor gives it. */
const KEY = 'numpy_key'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    rate: { type: 'string', default: '0.5' },
  },
})
const steps = Number(values.steps)
const rate = Number(values.rate)

await init()
const folder = datasets()['breast-cancer']
if (folder === undefined) throw new Error('the site grants no data set "breast-cancer"')
const patients = read('train.csv')
const test = read('test.csv')
console.log(`${getSiteName()}: ${patients.length} patients, ${test.length} in the common test set`)

let trained: Float64Array = new Float64Array(PARAMETERS)
let alone: number | undefined

while (await isRunning()) {
  const model = await receive()
  if (model === undefined) break
  if (isSubmitModel()) {
    await send({ params: toParams(trained) })
    continue
  }

  const received = Float64Array.from(model.params?.[KEY]?.data ?? [], Number)
  if (received.length !== PARAMETERS)
    throw new Error(`expected ${PARAMETERS} parameters, got ${received.length}`)
  const { accuracy, loss } = evaluate(received, test)
  if (isEvaluate()) {
    await send({ metrics: { accuracy, loss } })
    continue
  }

  // Once: what this hospital reaches with nobody's help, from the same start and with as much work.
  alone ??= evaluate(
    train(received, patients, steps * (model.totalRounds ?? 1), rate),
    test,
  ).accuracy
  trained = train(received, patients, steps, rate)

  const step = model.currentRound ?? 0
  await log('accuracy', accuracy, { step })
  await log('accuracy_alone', alone, { step })
  await send({
    params: toParams(trained),
    metrics: {
      accuracy,
      loss,
      accuracy_own_patients: evaluate(received, patients).accuracy,
      accuracy_alone: alone,
    },
    meta: { NUM_STEPS_CURRENT_ROUND: patients.length },
  })
}

function read(name: string): Patient[] {
  return parsePatients(readFileSync(join(folder!, name), 'utf8'))
}

function toParams(weights: Float64Array) {
  return {
    [KEY]: { dtype: 'float32', shape: [PARAMETERS], data: Float32Array.from(weights) },
  } as const
}
