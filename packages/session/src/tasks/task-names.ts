/** Topics of the task exchange; `get_task` and `submit_update` on `server_command`, the others as aux messages. */
export const TASK_TOPIC = {
  get: 'get_task',
  submit: 'submit_update',
  sync: '__sync_runner__',
  jobHeartbeat: '__job_heartbeat__',
  check: '__task_check__',
  endRun: '__end_run__',
} as const

/** Aux topic of events that a site's job tells its server's job (`spec/session.md` §6.14). */
export const EVENT_TOPIC = 'fed.event'

/** Task name that says: nothing to do now. */
export const TRY_AGAIN = '__try_again__'

/** Task name that says: the run is over. */
export const END_OF_RUN = '__end_run__'
