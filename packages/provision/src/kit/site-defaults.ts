import { jsonEntry, type KitEntry } from './kit-layout.ts'

/** The policy that stock ships to servers and sites (`spec/policies.md` §1.2). */
const DEFAULT_AUTHORIZATION = {
  format_version: '1.0',
  permissions: {
    project_admin: 'any',
    org_admin: {
      submit_job: 'none',
      clone_job: 'none',
      manage_job: 'o:submitter',
      download_job: 'o:submitter',
      view: 'any',
      operate: 'o:site',
      shell_commands: 'o:site',
      byoc: 'none',
      'server-predeployed-flwr': 'none',
    },
    lead: {
      submit_job: 'any',
      clone_job: 'n:submitter',
      manage_job: 'n:submitter',
      download_job: 'n:submitter',
      view: 'any',
      operate: 'o:site',
      shell_commands: 'o:site',
      byoc: 'any',
      'server-predeployed-flwr': 'none',
    },
    member: { view: 'any' },
  },
} as const

const FILTERS = 'nvflare.app_common.filters'

/**
 * An example of privacy scopes that works once it is renamed, also at a stock place; never loaded under this name
 * (`spec/policies.md` §2). Jobs that name no scope get the stricter one.
 */
const PRIVACY_SAMPLE = {
  scopes: [
    {
      name: 'public',
      task_result_filters: [
        {
          path: `${FILTERS}.percentile_privacy.PercentilePrivacy`,
          args: { percentile: 10, gamma: 0.02 },
        },
      ],
    },
    {
      name: 'private',
      task_result_filters: [
        { path: `${FILTERS}.exclude_vars.ExcludeVars`, args: { exclude_vars: 'embedding' } },
        { path: `${FILTERS}.svt_privacy.SVTPrivacy`, args: { fraction: 0.1, epsilon: 0.2 } },
      ],
    },
  ],
  default_scope: 'private',
}

const LOG_UTILITIES = 'nvflare.fuel.utils.log_utils'
const MESSAGE_FORMAT = '%(asctime)s - %(name)s - %(levelname)s - %(fl_ctx)s - %(message)s'

function logFile(filename: string, level: string, formatter: string, more: object = {}): object {
  return {
    class: 'logging.handlers.RotatingFileHandler',
    level,
    formatter,
    filename,
    mode: 'a',
    maxBytes: 20_971_520,
    backupCount: 10,
    ...more,
  }
}

/** Logging of the stock package, in the dictionary form of Python's `logging.config`; Hanse does not read it. */
const STOCK_LOGGING = {
  version: 1,
  disable_existing_loggers: false,
  formatters: {
    baseFormatter: { '()': `${LOG_UTILITIES}.BaseFormatter`, fmt: MESSAGE_FORMAT },
    consoleFormatter: { '()': `${LOG_UTILITIES}.ColorFormatter`, fmt: MESSAGE_FORMAT },
    jsonFormatter: {
      '()': `${LOG_UTILITIES}.JsonFormatter`,
      fmt: MESSAGE_FORMAT.replace('%(name)s', '%(name)s - %(fullName)s'),
    },
  },
  filters: {
    FLFilter: {
      '()': `${LOG_UTILITIES}.LoggerNameFilter`,
      logger_names: ['custom', 'nvflare.app_common', 'nvflare.app_opt'],
    },
  },
  handlers: {
    consoleHandler: {
      class: 'logging.StreamHandler',
      level: 'DEBUG',
      formatter: 'consoleFormatter',
      filters: [],
      stream: 'ext://sys.stdout',
    },
    logFileHandler: logFile('log.txt', 'DEBUG', 'baseFormatter'),
    errorFileHandler: logFile('error_log.txt', 'ERROR', 'baseFormatter'),
    jsonFileHandler: logFile('log.json', 'DEBUG', 'jsonFormatter'),
    FLFileHandler: logFile('log_fl.txt', 'DEBUG', 'baseFormatter', {
      filters: ['FLFilter'],
      delay: true,
    }),
  },
  loggers: {
    root: {
      level: 'INFO',
      handlers: [
        'consoleHandler',
        'logFileHandler',
        'errorFileHandler',
        'jsonFileHandler',
        'FLFileHandler',
      ],
    },
  },
}

/** What servers and sites have alike in `local/`. */
export function siteDefaults(): readonly (readonly [path: string, entry: KitEntry])[] {
  return [
    ['local/authorization.json.default', jsonEntry(DEFAULT_AUTHORIZATION)],
    ['local/privacy.json.sample', jsonEntry(PRIVACY_SAMPLE)],
    ['local/log_config.json.default', jsonEntry(STOCK_LOGGING)],
  ]
}
