/** The rights that group commands, complete (`spec/policies.md` §1.2). */
export const CATEGORIES = [
  'manage_job',
  'view',
  'operate',
  'shell_commands',
  'download_job',
] as const

export type Category = (typeof CATEGORIES)[number]

const COMMANDS: Readonly<Record<Category, readonly string[]>> = {
  manage_job: ['abort', 'abort_job', 'delete_job', 'delete_workspace', 'configure_job_log'],
  view: [
    'check_status',
    'show_scopes',
    'show_stats',
    'reset_errors',
    'show_errors',
    'list_jobs',
    'get_job_meta',
  ],
  operate: [
    'sys_info',
    'report_resources',
    'report_env',
    'restart',
    'shutdown',
    'remove_client',
    'disable_client',
    'enable_client',
    'set_timeout',
    'call',
    'configure_site_log',
  ],
  shell_commands: ['cat', 'grep', 'head', 'ls', 'pwd', 'tail'],
  download_job: ['download_job'],
}

const CATEGORY_OF: ReadonlyMap<string, Category> = new Map(
  CATEGORIES.flatMap((category) => COMMANDS[category].map((command) => [command, category])),
)

/** Rights that belong to no category: only their own name or a whole-role control grants them. */
const SINGLE_RIGHTS: readonly string[] = [
  'submit_job',
  'clone_job',
  'get_job_log',
  'list_job',
  'download_job_components',
  'app_command',
  'report_version',
  'check_resources',
  'deploy_app',
  'abort_task',
  'admin_check_status',
  'aux_command',
  'byoc',
  'server-predeployed-flwr',
  'register_study',
  'remove_study',
  'add_study_site',
  'remove_study_site',
  'add_study_user',
  'remove_study_user',
  'list_studies',
  'show_study',
]

/** Every right that something checks; a policy that names another has a typing error or a private right. */
export const KNOWN_RIGHTS: ReadonlySet<string> = new Set([
  ...CATEGORIES,
  ...CATEGORY_OF.keys(),
  ...SINGLE_RIGHTS,
])

/** The category that grants `command`, if one does. */
export function categoryOf(command: string): Category | undefined {
  return CATEGORY_OF.get(command)
}

/** The commands that a right stands for: those of a category, or none. */
export function commandsOf(right: string): readonly string[] {
  const category = CATEGORIES.find((candidate) => candidate === right)
  return category === undefined ? [] : COMMANDS[category]
}
