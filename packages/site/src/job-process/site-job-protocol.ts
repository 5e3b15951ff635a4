/** What a site's job tells its site on channel `admin`, beside `train.notify_job_status`. */
export const SITE_JOB_TOPIC = {
  /** How it ended, in words that may leave the site. */
  ending: 'hanse.job_ending',
  /** What it does now: name of the task under way as body, empty if there is none; `tasks_done` as a header. */
  work: 'hanse.job_work',
  /** What the site's own filters did to a message: their names as body; `task`, `payload` and `refusal` as headers. */
  filtered: 'hanse.job_filtered',
} as const

/** Stock's numbers for the state of a job's process; `spec/session.md` §6.6. */
export const JOB_STATUS = { started: 2, stopped: 3 } as const

/** Commands of a site to its job on channel `client_command`. */
export const JOB_COMMAND = {
  abort: 'abort',
  logLevel: 'hanse.log_level',
} as const
