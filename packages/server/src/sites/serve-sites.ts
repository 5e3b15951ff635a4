import type { Cell, CellReply, CellRequest } from '@hanse/cellnet'
import { CELL_HEADER, CHANNEL, type TokenClaims } from '@hanse/session'
import type { SiteRegistry } from './site-registry.ts'

export interface SiteServiceComponents {
  readonly cell: Cell
  readonly sites: SiteRegistry
  /** Whose verified token a message carries. */
  claimsOf(request: CellRequest): TokenClaims | undefined
  /**
   * What the jobs that a site says it runs come to.
   * @returns those that do not run here
   */
  onReportedJobs(site: string, jobs: readonly string[]): readonly string[]
  onFinalReport(site: string, jobId: string, code: number, reason: string): void
}

const MAX_JOBS = 1_000
const MAX_REASON_CHARS = 1_000

/** Serves what sites say of themselves: heartbeats, goodbyes, final reports (`spec/session.md` §4, §6.15). */
export function serveSites(components: SiteServiceComponents): void {
  const { cell, sites } = components

  const fromSite = (
    topic: string,
    serve: (claims: TokenClaims, request: CellRequest) => CellReply,
  ): void =>
    cell.handle(CHANNEL.task, topic, (request) => {
      const claims = components.claimsOf(request)
      if (claims?.kind !== 'site')
        return { returnCode: 'unauthenticated', error: `only a site may send ${topic}` }
      return serve(claims, request)
    })

  fromSite('heart_beat', (claims, request) => {
    const refusal = sites.heartbeat(claims)
    const unknown = components.onReportedJobs(claims.name, textsOf(request, CELL_HEADER.jobIds))
    const headers = {
      [CELL_HEADER.message]: 'Heartbeat response',
      ...(unknown.length === 0 ? {} : { [CELL_HEADER.abortJobs]: [...unknown] }),
    }
    return refusal === undefined
      ? { headers }
      : {
          returnCode: sites.disabled().includes(claims.name) ? 'unauthenticated' : 'comm_error',
          error: refusal,
          headers,
        }
  })

  fromSite('quit', (claims) => {
    sites.quit(claims.name)
    return { headers: { [CELL_HEADER.message]: 'Removed client' } }
  })

  // A misleading name of stock's: it is the report of success too.
  fromSite('report_job_failure', (claims, { body }) => {
    const jobId = body instanceof Map ? body.get('job_id') : undefined
    const code = body instanceof Map ? body.get('code') : undefined
    const reason = body instanceof Map ? body.get('reason') : undefined
    if (typeof jobId !== 'string' || typeof code !== 'number')
      return { returnCode: 'invalid_request', error: 'job_id must be text and code a number' }
    const words = typeof reason === 'string' ? reason.slice(0, MAX_REASON_CHARS) : ''
    components.onFinalReport(claims.name, jobId, code, words)
    return {}
  })
}

function textsOf({ headers }: CellRequest, key: string): string[] {
  const value = headers.get(key)
  if (!Array.isArray(value)) return []
  return value.slice(0, MAX_JOBS).filter((item) => typeof item === 'string')
}
