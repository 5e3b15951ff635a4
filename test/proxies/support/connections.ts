import type { League } from '../../support/league.ts'

/** A row of `hanse status --connections`. */
export interface ConnectionRow {
  readonly cell: string
  readonly peer: string | null
  readonly driver: string
  readonly mode: string
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** How a site is connected to its server, as the server says; `undefined`: it is not. */
export async function connectionOf(
  league: League,
  site: string,
): Promise<ConnectionRow | undefined> {
  const { json, stdout, stderr } = await league.asLead('status', '--connections')
  const rows = json?.['connections'] as readonly ConnectionRow[] | undefined
  if (rows === undefined) throw new Error(`no status:\n${stdout}\n${stderr}`)
  return rows.find(({ cell }) => cell === site)
}
