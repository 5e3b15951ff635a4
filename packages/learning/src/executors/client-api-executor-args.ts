import { z } from 'zod'

const seconds = z.number().min(0).finite()
const optionalSeconds = seconds.nullish()

/** Fields that only some modes know, with the value that means "not given". */
const MODE_FIELDS = {
  in_process: ['task_script_path', 'task_script_args'],
  external_process: [
    'command',
    'launch_once',
    'launch_timeout',
    'shutdown_timeout',
    'stop_grace_period',
  ],
  attach: ['attach_id', 'attach_timeout', 'allow_reconnect', 'allow_insecure_attach'],
} as const

const fields = {
  execution_mode: z.enum(['in_process', 'external_process', 'attach']),
  task_script_path: z.string().min(1).nullish(),
  task_script_args: z.string().default(''),
  command: z.union([z.string().min(1), z.array(z.string()).min(1)]).nullish(),
  launch_once: z.boolean().default(true),
  launch_timeout: optionalSeconds.default(300),
  shutdown_timeout: optionalSeconds,
  stop_grace_period: seconds.default(30),
  heartbeat_interval: seconds.default(5),
  heartbeat_timeout: seconds.default(30),
  task_wait_timeout: optionalSeconds,
  result_wait_timeout: optionalSeconds,
  train_task_name: z.string().default('train'),
  evaluate_task_name: z.string().default('validate'),
  submit_model_task_name: z.string().default('submit_model'),
  train_with_evaluation: z.boolean().default(false),
  params_exchange_format: z.enum(['raw', 'pytorch', 'numpy', 'keras_layer_weights']).default('raw'),
  server_expected_format: z
    .enum(['raw', 'pytorch', 'numpy', 'keras_layer_weights'])
    .default('numpy'),
  params_transfer_type: z.enum(['FULL', 'DIFF']).default('FULL'),
  memory_gc_rounds: z.int().min(0).default(0),
  cuda_empty_cache: z.boolean().default(false),
  attach_id: z.string().nullish(),
  attach_timeout: optionalSeconds,
  allow_reconnect: z.boolean().default(false),
  allow_insecure_attach: z.boolean().default(false),
}

/**
 * Arguments of the executor that runs a trainer (client-api.md §5); times in seconds, as jobs write them.
 * What belongs to another mode must be left at its default.
 */
export const clientApiExecutorArgs: z.ZodType<ClientApiExecutorArgs> = z
  .strictObject(fields)
  .superRefine((args, context) => {
    const complain = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message })
    for (const [mode, names] of Object.entries(MODE_FIELDS)) {
      if (mode === args.execution_mode) continue
      for (const name of names) {
        const given = args[name]
        const absent = fields[name].safeParse(undefined).data
        if (given !== null && given !== undefined && given !== absent)
          complain(name, `belongs to mode ${mode}, the mode is ${args.execution_mode}`)
      }
    }
    if (args.execution_mode === 'in_process' && !args.task_script_path)
      complain('task_script_path', 'is required in mode in_process')
    if (args.task_script_path && !/\.(py|[mc]?[jt]s)$/.test(args.task_script_path))
      complain('task_script_path', 'must end in .py, .js, .mjs, .cjs, .ts, .mts or .cts')
    if (args.execution_mode === 'external_process' && !args.command)
      complain('command', 'is required in mode external_process')
    if (args.execution_mode === 'attach' && !(args.heartbeat_timeout > 0))
      complain('heartbeat_timeout', 'must be more than 0 in mode attach')
  })

/** See `clientApiExecutorArgs`. */
export type ClientApiExecutorArgs = z.output<z.ZodObject<typeof fields>>
