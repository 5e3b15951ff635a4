import { fobsOfJson } from '@hanse/session'
import { z } from 'zod'
import {
  CollectAndAssembleAggregator,
  CollectAndAssembleModelAggregator,
} from '../aggregators/collect-and-assemble.ts'
import { KMeansAssembler } from '../assemblers/k-means-assembler.ts'
import { isValueMap } from '../model/dxo.ts'
import { JoblibParamPersistor } from '../persistors/joblib-param-persistor.ts'
import { fileName } from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

const AGGREGATORS = 'nvflare.app_common.aggregators'
const SKLEARN = 'nvflare.app_opt.sklearn'
/** What stock puts among the parameters for the path of a file. */
const MODEL_PATH = 'model_path'
const assemblerId = z.strictObject({ assembler_id: z.string().min(1) })

/** The server's part of scikit-learn jobs. */
export function sklearnComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${SKLEARN}.joblib_model_param_persistor.JoblibModelParamPersistor`,
      aliases: ['hanse.JoblibPersistor'],
      kind: 'persistor',
      args: z.strictObject({
        initial_params: z
          .record(z.string(), z.json())
          .nullish()
          .transform((params) => params ?? {})
          .refine(
            (params) => !params[MODEL_PATH],
            'may not name a model_path: pickles are never read here, give the parameters themselves',
          ),
        save_name: fileName.default('model_param.joblib'),
        model_path: z
          .null('must be left out: pickles are never read here, give initial_params')
          .optional(),
      }),
      create(args, run) {
        const { [MODEL_PATH]: _, ...params } = args.initial_params
        const initial = fobsOfJson(params)
        return new JoblibParamPersistor(
          isValueMap(initial) ? initial : new Map(),
          `app_server/${args.save_name}`,
          run,
        )
      },
    }),
    serverComponent({
      path: `${AGGREGATORS}.collect_and_assemble_model_aggregator.CollectAndAssembleModelAggregator`,
      aliases: ['hanse.AssemblingModelAggregator'],
      kind: 'model-aggregator',
      args: assemblerId,
      create: (args, run) => new CollectAndAssembleModelAggregator(args.assembler_id, run),
    }),
    serverComponent({
      path: `${AGGREGATORS}.collect_and_assemble_aggregator.CollectAndAssembleAggregator`,
      aliases: [`${AGGREGATORS}.CollectAndAssembleAggregator`, 'hanse.AssemblingAggregator'],
      kind: 'aggregator',
      args: assemblerId,
      create: (args, run) => new CollectAndAssembleAggregator(args.assembler_id, run),
    }),
    serverComponent({
      path: `${SKLEARN}.kmeans_assembler.KMeansAssembler`,
      aliases: ['hanse.KMeansAssembler'],
      kind: 'assembler',
      args: z.strictObject({}),
      create: (_, run) => new KMeansAssembler(run.random),
    }),
  ]
}
