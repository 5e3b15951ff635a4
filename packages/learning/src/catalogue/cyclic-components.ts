import { z } from 'zod'
import { CyclicController } from '../workflows/cyclic-controller.ts'
import { rounds, seconds, unusedTuning } from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

/** The model goes from site to site. */
export function cyclicComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: 'nvflare.app_common.workflows.cyclic_ctl.CyclicController',
      aliases: ['hanse.Cyclic'],
      kind: 'workflow',
      args: z.strictObject({
        num_rounds: rounds.default(5),
        task_assignment_timeout: seconds.default(10),
        persistor_id: z.string().default('persistor'),
        shareable_generator_id: z.string().default('shareable_generator'),
        task_name: z.string().min(1).default('train'),
        persist_every_n_rounds: rounds.default(1),
        snapshot_every_n_rounds: rounds.default(1),
        order: z
          .union([
            z.enum(['FIXED', 'RANDOM', 'RANDOM_WITHOUT_SAME_IN_A_ROW']),
            z.array(z.string().min(1)).min(1).max(10_000),
          ])
          .default('FIXED'),
        allow_early_termination: z.boolean().default(false),
        ...unusedTuning,
      }),
      create: (args) =>
        new CyclicController({
          numRounds: args.num_rounds,
          assignmentMs: args.task_assignment_timeout * 1000,
          persistorId: args.persistor_id,
          generatorId: args.shareable_generator_id,
          taskName: args.task_name,
          order: args.order,
          allowEarlyTermination: args.allow_early_termination,
          persistEveryRounds: args.persist_every_n_rounds,
        }),
    }),
  ]
}
