import { z } from 'zod'
import { NpModelPersistor } from '../persistors/np-model-persistor.ts'
import { FedAvg } from '../workflows/fed-avg.ts'
import { NewtonRaphson } from '../workflows/newton-raphson.ts'
import {
  fileName,
  folder,
  ignoreResultError,
  optionalText,
  rounds,
  unusedTuning,
} from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

const LR = 'nvflare.app_common.workflows.lr'
/** Where the weights are, and how many there are but for the constant. */
const weights = {
  model_dir: folder.default('models'),
  model_name: fileName.default('weights.npy'),
  n_features: z.int().min(1).max(1_999).default(13),
}

/** Logistic regression by Newton's method. */
export function logisticRegressionComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${LR}.fedavg.FedAvgLR`,
      aliases: ['hanse.LogisticRegression'],
      kind: 'workflow',
      args: z.strictObject({
        ...weights,
        damping_factor: z.number().positive().finite(),
        epsilon: z.number().min(0).finite().default(1),
        persistor: z.null('cannot be a component here: name one by persistor_id').optional(),
        num_clients: z.int().min(1).default(3),
        num_rounds: rounds.default(5),
        start_round: rounds.default(0),
        persistor_id: z.string().default('persistor'),
        ignore_result_error: ignoreResultError,
        allow_empty_global_weights: z.boolean().default(false),
        ...unusedTuning,
      }),
      create: (args, run) =>
        new FedAvg({
          numClients: args.num_clients,
          numRounds: args.num_rounds,
          startRound: args.start_round,
          taskName: 'train',
          persistorId: args.persistor_id,
          defaultPersistor: persistorOf(args, undefined, run),
          ignoreResultError: args.ignore_result_error,
          allowEmptyGlobalWeights: args.allow_empty_global_weights,
          patience: 0,
          aggregationWeights: new Map(),
          fedProxMu: 0,
          extension: new NewtonRaphson({ damping: args.damping_factor, epsilon: args.epsilon }),
        }),
    }),
    serverComponent({
      path: `${LR}.np_persistor.LRModelPersistor`,
      aliases: ['hanse.LogisticRegressionPersistor'],
      kind: 'persistor',
      args: z.strictObject({ ...weights, source_ckpt_file_full_name: optionalText }),
      create: (args, run) => persistorOf(args, args.source_ckpt_file_full_name, run),
    }),
  ]
}

function persistorOf(
  args: z.output<z.ZodObject<typeof weights>>,
  source: string | undefined,
  run: ConstructorParameters<typeof NpModelPersistor>[1],
): NpModelPersistor {
  const model = Array.from({ length: args.n_features + 1 }, () => [0])
  return new NpModelPersistor({ path: `${args.model_dir}/${args.model_name}`, model, source }, run)
}
