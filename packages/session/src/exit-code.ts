/** Exit codes of job processes at server and site (`spec/session.md` §6.4). */
export const EXIT_CODE = {
  ok: 0,
  executionError: 1,
  aborted: 9,
  exception: 101,
  unsafeComponent: 102,
  config: 103,
  infrastructure: 104,
} as const
