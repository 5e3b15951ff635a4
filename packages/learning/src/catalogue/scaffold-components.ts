import { z } from 'zod'
import { FedAvg } from '../workflows/fed-avg.ts'
import { ScaffoldControl } from '../workflows/scaffold-control.ts'
import { ignoreResultError, rounds, unusedTuning } from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

/** Federated averaging with control variates against the drift of sites. */
export function scaffoldComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: 'nvflare.app_common.workflows.scaffold.Scaffold',
      aliases: ['hanse.Scaffold'],
      kind: 'workflow',
      args: z.strictObject({
        num_clients: z.int().min(1).default(3),
        num_rounds: rounds.default(5),
        start_round: rounds.default(0),
        persistor_id: z.string().default('persistor'),
        ignore_result_error: ignoreResultError,
        allow_empty_global_weights: z.boolean().default(false),
        ...unusedTuning,
        enable_tensor_disk_offload: z.boolean().default(false),
      }),
      create: (args) =>
        new FedAvg({
          numClients: args.num_clients,
          numRounds: args.num_rounds,
          startRound: args.start_round,
          taskName: 'train',
          persistorId: args.persistor_id,
          ignoreResultError: args.ignore_result_error,
          allowEmptyGlobalWeights: args.allow_empty_global_weights,
          patience: 0,
          aggregationWeights: new Map(),
          fedProxMu: 0,
          extension: new ScaffoldControl(),
        }),
    }),
  ]
}
