/** Outcomes of a request that this version knows by name; `spec/transport.md` §6.4. */
export type KnownReturnCode =
  | 'ok'
  | 'timeout'
  | 'invalid_target'
  | 'target_unreachable'
  | 'comm_error'
  | 'msg_too_big'
  | 'filter_error'
  | 'invalid_request'
  | 'process_exception'
  | 'authentication_error'
  | 'service_unavailable'
  | 'invalid_session'
  | 'abort_run'
  | 'unauthenticated'

/** Outcome of a request; a peer may send one that is not in the list. */
export type ReturnCode = KnownReturnCode | (string & {})
