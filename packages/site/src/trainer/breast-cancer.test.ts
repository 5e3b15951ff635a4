import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MetaValue, TrainerModel } from '@hanse/client/core'
import { silentLogger, systemClock } from '@hanse/contract'
import { createTrainerLauncher, findClientPackages, ownNodeRuntime } from '@hanse/launcher-process'
import { type Tensor, weightedMean, zeros } from '@hanse/tensor'
import { expect, it, onTestFinished } from 'vitest'
import { asArray } from './model-conversion.ts'
import { createTrainer, DEFAULT_TASK_EXCHANGE } from './trainer.ts'

const example = fileURLToPath(new URL('../../../../examples/breast-cancer/', import.meta.url))
const HOSPITALS = ['hospital-a', 'hospital-b', 'hospital-c']
const ROUNDS = 20

it('in the example, the hospitals reach together what none reaches alone', async () => {
  const scratchDirectory = await mkdtemp(join(tmpdir(), 'hanse-example-'))
  onTestFinished(() => rm(scratchDirectory, { recursive: true, force: true }))
  const launcher = createTrainerLauncher({
    logger: silentLogger,
    packages: findClientPackages('@hanse/client', import.meta.url),
  })
  const { level } = await launcher.detect()
  const trainers = HOSPITALS.map((siteName) =>
    createTrainer(
      { launcher, clock: systemClock, logger: silentLogger },
      {
        command: ['node', 'custom/train.ts', '--steps', '10', '--rate', '0.5'],
        runtimes: new Map([['node', ownNodeRuntime()]]),
        appDirectory: join(example, 'job/app'),
        datasets: { 'breast-cancer': join(example, 'data', siteName) },
        minimumLevel: level,
        scratchDirectory,
        jobId: 'example',
        siteName,
        exchange: DEFAULT_TASK_EXCHANGE,
      },
    ),
  )
  let weights: Tensor = zeros('float32', [31])
  let answers: TrainerModel<MetaValue>[] = []
  const ask = (name: string, round: number) =>
    Promise.all(
      trainers.map((trainer) =>
        trainer.exchange({
          name,
          model: { params: { numpy_key: weights }, currentRound: round, totalRounds: ROUNDS },
        }),
      ),
    )
  try {
    for (let round = 0; round < ROUNDS; round++) {
      answers = await ask('train', round)
      weights = weightedMean(
        answers.map(({ params, meta }) => ({
          tensor: asArray(params!['numpy_key'])!,
          weight: Number(meta!['NUM_STEPS_CURRENT_ROUND']),
        })),
      )
    }
    const alone = answers.map(({ metrics }) => metrics!['accuracy_alone']!)
    const together = (await ask('validate', ROUNDS)).map(({ metrics }) => metrics!['accuracy']!)
    // 142 patients in the common test set; README.md has the same numbers.
    expect(alone.map((accuracy) => Math.round(accuracy * 142))).toEqual([130, 118, 85])
    expect(together.map((accuracy) => Math.round(accuracy * 142))).toEqual([137, 137, 137])
    expect(Math.min(...together)).toBeGreaterThan(Math.max(...alone) + 0.02)
  } finally {
    await Promise.all(trainers.map((trainer) => trainer.close()))
  }
})
