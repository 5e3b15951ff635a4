/** Channels above the cell layer; `spec/session.md` §10. */
export const CHANNEL = {
  task: 'task',
  admin: 'admin',
  clientCommand: 'client_command',
  serverCommand: 'server_command',
  serverParent: 'server_parent_listener',
  aux: 'aux_communication',
  cellnet: 'cellnet.channel',
  /** Not of stock: what a server tells programs that joined with a kit. */
  externalCells: 'external_cells',
} as const

/** Cell headers that the platform adds; `spec/session.md` §1.3. */
export const CELL_HEADER = {
  clientName: 'client_name',
  token: '__token__',
  tokenSignature: '__token_signature__',
  ssid: 'ssid',
  clientType: 'client_type',
  clientIp: 'client_ip',
  projectName: 'project_name',
  jobId: 'job_id',
  jobIds: 'job_ids',
  abortJobs: 'abort_jobs',
  message: 'message',
  protocolVersion: 'federation_protocol_version',
  softwareVersion: 'nvflare_version',
  transit: 'cn__server_transit_required',
} as const

/** Fixed cell name of the server. */
export const SERVER_CELL = 'server'

/** Name under which a server's job processes speak. */
export const SERVER_JOB_NAME = 'server_job'

/** The session id of stock 2.9: always this text. */
export const NO_SSID = 'NA'

/** What `federation_protocol_version` says. */
export const FEDERATION_PROTOCOL_VERSION = 1

/** Name of the cell that runs `job` at the place `parent`. */
export function jobCell(parent: string, job: string): string {
  return `${parent}.${job}`
}

/** Such cells are stock's: trainers that their own site starts or awaits. */
const CLIENT_API_LEAF = '-client_api_'

/**
 * Name of the cell of a program outside Hanse that joins with the kit of `participant`: one below it, with stock's sign
 * for agents, so that it is neither a job nor a trainer.
 */
export function externalCell(participant: string, id: string): string {
  return `${participant}.-${id}`
}

/** True for what {@link externalCell} makes, and for cells below such. */
export function isExternalCell(cell: string): boolean {
  const [, segment = ''] = cell.split('.', 2)
  return segment.startsWith('-') && !segment.startsWith(CLIENT_API_LEAF)
}

/** True if `cell` is `ancestor` or lies below it. */
export function isAtOrBelow(cell: string, ancestor: string): boolean {
  return cell === ancestor || cell.startsWith(`${ancestor}.`)
}
