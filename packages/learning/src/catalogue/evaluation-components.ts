import { z } from 'zod'
import { NpFormatter } from '../formatters/np-formatter.ts'
import { NpModelLocator } from '../locators/np-model-locator.ts'
import { ValidationJsonGenerator } from '../widgets/validation-json-generator.ts'
import { CrossSiteModelEval } from '../workflows/cross-site-model-eval.ts'
import { fileName, folder, seconds, unusedTuning } from './argument-schemas.ts'
import { type ComponentEntry, serverComponent } from './catalogue.ts'

const STOCK = 'nvflare.app_common'
const { task_check_period } = unusedTuning

/** What both evaluations take. */
const evaluation = {
  task_check_period,
  cross_val_dir: folder.default('cross_site_val'),
  validation_timeout: seconds.default(6000),
  formatter_id: z.string().default(''),
  validation_task_name: z.string().min(1).default('validate'),
  cleanup_models: z.boolean().default(false),
  participating_clients: z
    .array(z.string().min(1))
    .nullish()
    .transform((sites) => [...new Set(sites)]),
  // Sites of a job are there when it starts.
  wait_for_clients_timeout: seconds.default(300),
}

/** A file of the run. */
const modelFile = z
  .string()
  .refine(
    (path) => folder.safeParse(path).success,
    'must be a file below model_dir: a job may not read other files of the server',
  )

/** Sites try models, their own and the server's. */
export function evaluationComponents(): ComponentEntry[] {
  return [
    serverComponent({
      path: `${STOCK}.workflows.cross_site_model_eval.CrossSiteModelEval`,
      aliases: ['hanse.CrossSiteEvaluation'],
      kind: 'workflow',
      args: z.strictObject({
        ...evaluation,
        submit_model_timeout: seconds.default(600),
        submit_model_task_name: z.string().default('submit_model'),
        model_locator_id: z.string().default(''),
      }),
      create: (args) =>
        new CrossSiteModelEval({
          ...settingsOf(args),
          submitTaskName: args.submit_model_task_name,
          submitTimeoutMs: args.submit_model_timeout * 1000,
          locatorId: args.model_locator_id,
        }),
    }),
    serverComponent({
      path: `${STOCK}.workflows.global_model_eval.GlobalModelEval`,
      aliases: ['hanse.GlobalModelEvaluation'],
      kind: 'workflow',
      args: z.strictObject({ ...evaluation, model_locator_id: z.string().min(1) }),
      create: (args) =>
        new CrossSiteModelEval({
          ...settingsOf(args),
          submitTaskName: '',
          submitTimeoutMs: 0,
          locatorId: args.model_locator_id,
        }),
    }),
    serverComponent({
      path: `${STOCK}.np.np_model_locator.NPModelLocator`,
      aliases: ['hanse.NumpyModelLocator'],
      kind: 'model-locator',
      args: z.strictObject({
        model_dir: folder.default('models'),
        model_name: z
          .union([
            modelFile.transform((file) => ({ server: file })),
            z.record(z.string().regex(/^[\w.-]{1,200}$/), modelFile),
          ])
          .nullish()
          .transform((names) => names ?? { server: 'server.npy' }),
      }),
      create: (args, run) =>
        new NpModelLocator(
          new Map(
            Object.entries(args.model_name).map(([name, file]) => [
              name,
              `${args.model_dir}/${file}`,
            ]),
          ),
          run,
        ),
    }),
    serverComponent({
      path: `${STOCK}.np.np_formatter.NPFormatter`,
      kind: 'formatter',
      args: z.strictObject({}),
      create: () => new NpFormatter(),
    }),
    serverComponent({
      path: `${STOCK}.widgets.validation_json_generator.ValidationJsonGenerator`,
      kind: 'widget',
      args: z.strictObject({
        results_dir: folder.default('cross_site_val'),
        json_file_name: fileName.default('cross_val_results.json'),
      }),
      create: (args, run) =>
        new ValidationJsonGenerator(`${args.results_dir}/${args.json_file_name}`, run),
    }),
  ]
}

function settingsOf(args: z.output<z.ZodObject<typeof evaluation>>) {
  return {
    folder: args.cross_val_dir,
    validateTaskName: args.validation_task_name,
    validationTimeoutMs: args.validation_timeout * 1000,
    formatterId: args.formatter_id,
    participants: args.participating_clients,
    cleanUp: args.cleanup_models,
  }
}
