/** Channel and topics of the cell layer itself; `spec/transport.md` §7.1. */
export const CHANNEL_CELL = 'cellnet.channel'
export const TOPIC_BYE = 'bye'
export const TOPIC_BULK = 'bulk'
/** From a cell to the Hanse cells directly below it: a link that their messages went over is gone. Not of stock. */
export const TOPIC_WAY_LOST = 'hanse_way_lost'

export const CHANNEL_STREAM = 'sm__STREAM'
export const TOPIC_STREAM_DATA = 'sm__DATA'

/** Channels whose requests and replies are single messages; all others are streamed (§7.2). */
const PLAIN = new Set([
  'admin',
  'task',
  'server_parent_listener',
  'client_command',
  'client_sub_worker_command',
  'multi_process_executor',
  'simulator_runner',
  'return_only',
  CHANNEL_CELL,
  'credential_manager',
  '_net_manager',
  CHANNEL_STREAM,
])

/** Whether requests on `channel` travel as single messages. */
export function isPlainChannel(channel: string): boolean {
  return PLAIN.has(channel)
}
