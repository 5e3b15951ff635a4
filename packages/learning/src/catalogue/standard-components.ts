import { fobsOfJson } from '@hanse/session'
import { z } from 'zod'
import { InTimeWeightedAggregator } from '../aggregators/in-time-weighted-aggregator.ts'
import type { Executor, ModelAggregator } from '../components/contracts.ts'
import { isModelAggregator } from '../components/guards.ts'
import {
  type ClientApiExecutorArgs,
  clientApiExecutorArgs,
} from '../executors/client-api-executor-args.ts'
import { ConvertWeights } from '../filters/convert-weights.ts'
import { DxoBlocker } from '../filters/dxo-blocker.ts'
import { excludeVars } from '../filters/exclude-vars.ts'
import { percentilePrivacy } from '../filters/percentile-privacy.ts'
import { svtPrivacy } from '../filters/svt-privacy.ts'
import { FullModelShareableGenerator } from '../generators/full-model-shareable-generator.ts'
import { LearningError } from '../learning-error.ts'
import { DATA_KINDS } from '../model/data-kind.ts'
import { isValueMap } from '../model/dxo.ts'
import { NpFileModelPersistor } from '../persistors/np-file-model-persistor.ts'
import { NpModelPersistor } from '../persistors/np-model-persistor.ts'
import { ConvertToFedEvent } from '../widgets/convert-to-fed-event.ts'
import { InTimeModelSelector } from '../widgets/in-time-model-selector.ts'
import { MetricsArtifactWriter } from '../widgets/metrics-artifact-writer.ts'
import { FedAvg } from '../workflows/fed-avg.ts'
import { ScatterAndGather } from '../workflows/scatter-and-gather.ts'
import { parseStopCondition } from '../workflows/stop-condition.ts'
import {
  aggregationWeights,
  excludePattern,
  fileName,
  folder,
  ignoreResultError,
  optionalText,
  rounds,
  seconds,
  unusedTuning,
} from './argument-schemas.ts'
import {
  type ComponentEntry,
  clientComponent,
  commonComponent,
  type SiteContext,
  serverComponent,
} from './catalogue.ts'
import { cyclicComponents } from './cyclic-components.ts'
import { evaluationComponents } from './evaluation-components.ts'
import { logisticRegressionComponents } from './logistic-regression-components.ts'
import { scaffoldComponents } from './scaffold-components.ts'
import { sklearnComponents } from './sklearn-components.ts'
import { statisticsComponents } from './statistics-components.ts'

export interface StandardComponents {
  /** Makes the executor that runs trainers; absent where none is run: at servers, and for checking jobs. */
  readonly createClientApiExecutor?: (args: ClientApiExecutorArgs, site: SiteContext) => Executor
}

const STOCK = 'nvflare.app_common'
const nested: z.ZodType<number | boolean | (number | boolean)[]> = z.lazy(() =>
  z.union([z.number(), z.boolean(), z.array(nested)]),
) as z.ZodType<number | boolean | (number | boolean)[]> // a recursive schema needs its type said
const modelDiffs = z
  .array(z.enum(DATA_KINDS))
  .nullish()
  .transform((kinds) => (kinds && kinds.length > 0 ? kinds : (['WEIGHT_DIFF', 'WEIGHTS'] as const)))

/** The components that this package has, under their stock paths and ours. */
export function standardComponents(options: StandardComponents = {}): ComponentEntry[] {
  return [
    ...workflows(),
    ...cyclicComponents(),
    ...evaluationComponents(),
    ...statisticsComponents(),
    ...scaffoldComponents(),
    ...logisticRegressionComponents(),
    ...sklearnComponents(),
    ...serverParts(),
    ...filters(),
    ...clientParts(options),
  ]
}

function workflows(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${STOCK}.workflows.fedavg.FedAvg`,
      aliases: ['hanse.FedAvg'],
      kind: 'workflow',
      args: z.strictObject({
        num_clients: z.int().min(1).default(3),
        num_rounds: rounds.default(5),
        start_round: rounds.default(0),
        persistor_id: z.string().default('persistor'),
        ignore_result_error: ignoreResultError,
        allow_empty_global_weights: z.boolean().default(false),
        model: z.record(z.string(), z.json()).nullish(),
        save_filename: fileName.nullable().default('FL_global_model.pt'),
        aggregator: z
          .custom<ModelAggregator>(isModelAggregator, 'must be a component that aggregates models')
          .nullish(),
        stop_cond: optionalText,
        patience: rounds.nullish(),
        task_name: z.string().min(1).default('train'),
        exclude_vars: excludePattern,
        aggregation_weights: aggregationWeights,
        fedprox_mu: z.number().min(0).finite().nullish(),
        ...unusedTuning,
        enable_tensor_disk_offload: z.boolean().default(false),
      }),
      create(args) {
        const model = args.model ? fobsOfJson(args.model) : undefined
        return new FedAvg({
          numClients: args.num_clients,
          numRounds: args.num_rounds,
          startRound: args.start_round,
          taskName: args.task_name,
          persistorId: args.persistor_id,
          ignoreResultError: args.ignore_result_error,
          allowEmptyGlobalWeights: args.allow_empty_global_weights,
          model: isValueMap(model) ? model : undefined,
          aggregator: args.aggregator ?? undefined,
          stopCondition:
            args.stop_cond === undefined ? undefined : parseStopCondition(args.stop_cond),
          patience: args.patience ?? 0,
          exclude: args.exclude_vars,
          aggregationWeights: args.aggregation_weights,
          fedProxMu: args.fedprox_mu ?? 0,
          saveFileName: args.save_filename ?? undefined,
        })
      },
    }),
    serverComponent({
      path: `${STOCK}.workflows.scatter_and_gather.ScatterAndGather`,
      aliases: ['hanse.ScatterAndGather'],
      kind: 'workflow',
      args: z.strictObject({
        min_clients: rounds.default(1000),
        num_rounds: rounds.default(5),
        start_round: rounds.default(0),
        wait_time_after_min_received: seconds.default(10),
        aggregator_id: z.string().default('aggregator'),
        persistor_id: z.string().default(''),
        shareable_generator_id: z.string().default('shareable_generator'),
        train_task_name: z.string().min(1).default('train'),
        train_timeout: seconds.default(0),
        ignore_result_error: ignoreResultError,
        allow_empty_global_weights: z.boolean().default(false),
        persist_every_n_rounds: rounds.default(1),
        snapshot_every_n_rounds: rounds.default(1),
        ...unusedTuning,
        enable_tensor_disk_offload: z.boolean().default(false),
      }),
      create: (args) =>
        new ScatterAndGather({
          minClients: args.min_clients,
          numRounds: args.num_rounds,
          startRound: args.start_round,
          waitMs: args.wait_time_after_min_received * 1000,
          aggregatorId: args.aggregator_id,
          persistorId: args.persistor_id,
          generatorId: args.shareable_generator_id,
          taskName: args.train_task_name,
          timeoutMs: args.train_timeout * 1000,
          ignoreResultError: args.ignore_result_error,
          allowEmptyGlobalWeights: args.allow_empty_global_weights,
          persistEveryRounds: args.persist_every_n_rounds,
        }),
    }),
  ]
}

function serverParts(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${STOCK}.aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator`,
      aliases: [
        `${STOCK}.aggregators.InTimeAccumulateWeightedAggregator`,
        `${STOCK}.aggregators.accumulate_model_aggregator.AccumulateWeightedAggregator`,
        `${STOCK}.aggregators.AccumulateWeightedAggregator`,
        'hanse.WeightedAggregator',
      ],
      kind: 'aggregator',
      args: z.strictObject({
        exclude_vars: excludePattern,
        aggregation_weights: aggregationWeights,
        expected_data_kind: z
          .enum(
            ['WEIGHT_DIFF', 'WEIGHTS', 'METRICS'],
            'must be WEIGHT_DIFF, WEIGHTS or METRICS; collections are not supported',
          )
          .default('WEIGHT_DIFF'),
        weigh_by_local_iter: z.boolean().default(true),
      }),
      create: (args, run) =>
        new InTimeWeightedAggregator(
          {
            exclude: args.exclude_vars,
            aggregationWeights: args.aggregation_weights,
            expectedKind: args.expected_data_kind,
            weighByLocalIter: args.weigh_by_local_iter,
          },
          run,
        ),
    }),
    serverComponent({
      path: `${STOCK}.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator`,
      aliases: [
        `${STOCK}.shareablegenerators.FullModelShareableGenerator`,
        'hanse.FullModelShareableGenerator',
      ],
      kind: 'shareable-generator',
      args: z.strictObject({}),
      create: () => new FullModelShareableGenerator(),
    }),
    serverComponent({
      path: `${STOCK}.np.np_model_persistor.NPModelPersistor`,
      aliases: ['hanse.NumpyPersistor'],
      kind: 'persistor',
      args: z.strictObject({
        model_dir: folder.default('models'),
        model_name: fileName.default('server.npy'),
        model: nested.nullish(),
        source_ckpt_file_full_name: optionalText,
      }),
      create: (args, run) =>
        new NpModelPersistor(
          {
            path: `${args.model_dir}/${args.model_name}`,
            model: args.model ?? undefined,
            source: args.source_ckpt_file_full_name,
          },
          run,
        ),
    }),
    serverComponent({
      path: `${STOCK}.ccwf.comps.np_file_model_persistor.NPFileModelPersistor`,
      kind: 'persistor',
      args: z.strictObject({
        last_global_model_file_name: fileName.default('last_global_model.npy'),
        best_global_model_file_name: fileName.default('best_global_model.npy'),
        model_dir: folder.default('models'),
        model_file_name: fileName.default('model.npy'),
        source_ckpt_file_full_name: optionalText,
      }),
      create: (args, run) =>
        new NpFileModelPersistor(
          {
            lastPath: `${args.model_dir}/${args.last_global_model_file_name}`,
            bestPath: `${args.model_dir}/${args.best_global_model_file_name}`,
            modelPath: `${args.model_dir}/${args.model_file_name}`,
            source: args.source_ckpt_file_full_name,
          },
          run,
        ),
    }),
    serverComponent({
      path: `${STOCK}.widgets.intime_model_selector.IntimeModelSelector`,
      aliases: [
        `${STOCK}.widgets.intime_model_selector.IntimeModelSelectionHandler`,
        'hanse.ModelSelector',
      ],
      kind: 'widget',
      args: z.strictObject({
        weigh_by_local_iter: z.boolean().default(false),
        aggregation_weights: aggregationWeights,
        validation_metric_name: z.string().default('initial_metrics'),
        key_metric: z.string().default('val_accuracy'),
        negate_key_metric: z.boolean().default(false),
      }),
      create: (args, run) =>
        new InTimeModelSelector(
          {
            weighByLocalIter: args.weigh_by_local_iter,
            aggregationWeights: args.aggregation_weights,
            metricSource: args.validation_metric_name,
            keyMetric: args.key_metric,
            negate: args.negate_key_metric,
          },
          run,
        ),
    }),
    serverComponent({
      path: `${STOCK}.widgets.metrics_artifact_writer.MetricsArtifactWriter`,
      kind: 'widget',
      args: z.strictObject({
        results_dir: folder.default('metrics'),
        summary_file_name: fileName.default('metrics_summary.json'),
        round_file_name: fileName.default('round_metrics.jsonl'),
        limits: z.record(z.string(), z.int().min(1)).nullish(),
      }),
      create(args, run) {
        const limit = (name: string, usual: number): number => args.limits?.[name] ?? usual
        return new MetricsArtifactWriter(
          {
            folder: args.results_dir,
            summaryFile: args.summary_file_name,
            roundFile: args.round_file_name,
            limits: {
              maxNameLength: limit('max_metric_name_length', 256),
              maxMetricsPerSite: limit('max_metrics_per_site_per_round', 512),
              maxSites: limit('max_sites_per_round', 10_000),
              maxRoundBytes: limit('max_round_record_bytes', 1024 * 1024),
              maxSummaryBytes: limit('max_summary_bytes', 1024 * 1024),
            },
          },
          run,
        )
      },
    }),
  ]
}

function filters(): ComponentEntry[] {
  return [
    commonComponent({
      path: `${STOCK}.filters.exclude_vars.ExcludeVars`,
      aliases: [`${STOCK}.filters.ExcludeVars`, 'hanse.ExcludeVars'],
      kind: 'filter',
      // Stock lets a list with a mistake in it remove nothing, silently; here it is refused.
      args: z.strictObject({
        exclude_vars: z.union([
          z
            .array(z.string().min(1))
            .min(1)
            .transform((names) => ({ names })),
          z
            .string()
            .min(1)
            .transform((text, context) => {
              try {
                return { pattern: new RegExp(text) }
              } catch {
                context.addIssue({ code: 'custom', message: 'is no regular expression' })
                return z.NEVER
              }
            }),
        ]),
        data_kinds: modelDiffs,
      }),
      create: (args) => excludeVars(args.exclude_vars, args.data_kinds),
    }),
    commonComponent({
      path: `${STOCK}.filters.percentile_privacy.PercentilePrivacy`,
      aliases: [`${STOCK}.filters.PercentilePrivacy`, 'hanse.PercentilePrivacy'],
      kind: 'filter',
      // Stock lets data through unfiltered on bad numbers; here they are refused.
      args: z.strictObject({
        percentile: z.number().min(0).max(100).default(10),
        gamma: z.number().positive().finite().default(0.01),
        data_kinds: modelDiffs,
      }),
      create: (args) => percentilePrivacy({ ...args, kinds: args.data_kinds }),
    }),
    commonComponent({
      path: `${STOCK}.filters.svt_privacy.SVTPrivacy`,
      aliases: [`${STOCK}.filters.SVTPrivacy`, 'hanse.SvtPrivacy'],
      kind: 'filter',
      args: z.strictObject({
        fraction: z.number().min(0).max(1).default(0.1),
        epsilon: z.number().positive().finite().default(0.1),
        noise_var: z.number().positive().finite().default(0.1),
        gamma: z.number().positive().finite().default(1e-5),
        tau: z.number().finite().default(1e-6),
        data_kinds: modelDiffs,
        replace: z.boolean().default(true),
        epsilon_threshold: z.number().positive().finite().nullish(),
        epsilon_query: z.number().positive().finite().nullish(),
        epsilon_release: z.number().positive().finite().nullish(),
      }),
      create: (args) =>
        svtPrivacy({
          fraction: args.fraction,
          epsilon: args.epsilon,
          noiseVar: args.noise_var,
          gamma: args.gamma,
          tau: args.tau,
          kinds: args.data_kinds,
          replace: args.replace,
          epsilonThreshold: args.epsilon_threshold ?? undefined,
          epsilonQuery: args.epsilon_query ?? undefined,
          epsilonRelease: args.epsilon_release ?? undefined,
        }),
    }),
    clientComponent({
      path: `${STOCK}.filters.convert_weights.ConvertWeights`,
      aliases: ['hanse.ConvertWeights'],
      kind: 'filter',
      args: z.strictObject({ direction: z.enum(['weights_to_diff', 'diff_to_weights']) }),
      create: ({ direction }) => new ConvertWeights(direction),
    }),
    commonComponent({
      path: `${STOCK}.filters.dxo_blocker.DXOBlocker`,
      aliases: ['hanse.DxoBlocker'],
      kind: 'filter',
      args: z.strictObject({
        data_kinds: z.array(z.enum(DATA_KINDS)).min(1),
        allow_data_kinds: z.boolean().default(false),
      }),
      create: (args) => new DxoBlocker(args.data_kinds, args.allow_data_kinds),
    }),
  ]
}

function clientParts({ createClientApiExecutor }: StandardComponents): ComponentEntry[] {
  return [
    clientComponent({
      path: `${STOCK}.executors.client_api_executor.ClientAPIExecutor`,
      aliases: ['hanse.TrainerExecutor'],
      kind: 'executor',
      args: clientApiExecutorArgs,
      create(args, site) {
        if (createClientApiExecutor === undefined)
          throw new LearningError('ERR_COMPONENT_MISSING', 'trainers cannot be run here')
        return createClientApiExecutor(args, site)
      },
    }),
    clientComponent({
      path: `${STOCK}.widgets.convert_to_fed_event.ConvertToFedEvent`,
      kind: 'widget',
      args: z.strictObject({
        events_to_convert: z.array(z.string().min(1)),
        fed_event_prefix: z.string().default('fed.'),
      }),
      create: (args) => new ConvertToFedEvent(args.events_to_convert, args.fed_event_prefix),
    }),
  ]
}
