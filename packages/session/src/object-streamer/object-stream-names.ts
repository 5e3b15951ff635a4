/** Aux topics of the object streamer (`spec/session.md` §6.14). */
export const OBJECT_STREAM_TOPIC = {
  request: 'ObjectStreamer.Request',
  abort: 'ObjectStreamer.Abort',
} as const

/** Headers of its messages. */
export const OBJECT_STREAM_HEADER = {
  transaction: 'ObjectStreamer.TX_ID',
  sequence: 'ObjectStreamer.SEQ',
  channel: 'ObjectStreamer.CHANNEL',
  topic: 'ObjectStreamer.TOPIC',
  context: 'ObjectStreamer.CTX',
  endResult: 'ObjectStreamer.END_RESULT',
} as const

/** Content of one piece, and what the context of a file says. */
export const OBJECT_STREAM_KEY = {
  data: 'Streamer.data',
  size: 'Streamer.size',
  isLast: 'Streamer.eof',
  fileName: 'Streamer.file_name',
  fileSize: 'FileStreamer.file_size',
} as const

/** Octets of one piece as stock sends them. */
export const OBJECT_STREAM_PIECE_BYTES = 1024 * 1024
