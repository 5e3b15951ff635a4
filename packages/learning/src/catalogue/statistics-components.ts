import type { JsonObject } from '@hanse/contract'
import { fobsOfJson } from '@hanse/session'
import { z } from 'zod'
import { isValueMap, type ValueMap } from '../model/dxo.ts'
import { JsonStatsFileWriter } from '../statistics/json-stats-file-writer.ts'
import { StatisticsController } from '../workflows/statistics-controller.ts'
import { folder, seconds } from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

const STOCK = 'nvflare.app_common'
const plain = z.record(z.string(), z.json()).nullish()
const bins = z.strictObject({
  bins: z.int().min(1).max(100_000),
  range: z.tuple([z.number(), z.number()]).nullish(),
})
/** Statistic → configuration; the keys are a list of ours. */
const statistics = z
  .strictObject({
    count: plain,
    failure_count: plain,
    sum: plain,
    mean: plain,
    var: plain,
    stddev: plain,
    histogram: z.record(z.string(), bins).optional(),
  })
  .refine((configs) => Object.keys(configs).length > 0, 'needs at least one statistic')

/** Numbers about the data of all sites, which stay where they are. */
export function statisticsComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${STOCK}.workflows.statistics_controller.StatisticsController`,
      aliases: ['hanse.Statistics'],
      kind: 'workflow',
      args: z.strictObject({
        statistic_configs: statistics,
        writer_id: z.string().min(1),
        wait_time_after_min_received: seconds.default(1),
        // Results are dealt with before they count as received.
        result_wait_timeout: seconds.default(10),
        precision: z.int().min(0).max(50).default(4),
        min_clients: z.int().min(0).nullish(),
        enable_pre_run_task: z.boolean().default(true),
      }),
      create: (args) =>
        new StatisticsController({
          statistics: configsOf(args.statistic_configs),
          writerId: args.writer_id,
          waitMs: args.wait_time_after_min_received * 1000,
          digits: args.precision,
          minClients: args.min_clients ?? 0,
          preRun: args.enable_pre_run_task,
        }),
    }),
    serverComponent({
      path: `${STOCK}.statistics.json_stats_file_persistor.JsonStatsFileWriter`,
      aliases: ['hanse.JsonStatisticsWriter'],
      kind: 'statistics-writer',
      args: z.strictObject({
        output_path: z
          .string()
          .refine(
            (path) => folder.safeParse(path).success,
            'must be a file below the folder of the run',
          ),
        json_encoder_path: z
          .enum(
            ['', `${STOCK}.utils.json_utils.ObjectEncoder`],
            'encoders of a job cannot run at this server; leave it out',
          )
          .default(''),
      }),
      create: (args, run) => new JsonStatsFileWriter(args.output_path, run),
    }),
  ]
}

function configsOf(configs: z.output<typeof statistics>): ReadonlyMap<string, ValueMap> {
  return new Map(
    Object.entries(configs).map(([name, config]) => {
      const value = fobsOfJson((config ?? {}) as JsonObject) // parsed as such
      return [name, isValueMap(value) ? value : new Map()]
    }),
  )
}
