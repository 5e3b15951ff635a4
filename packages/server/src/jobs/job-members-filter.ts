import {
  HEADER,
  type IncomingFilter,
  isSameOrBelow,
  type PeerLink,
  textHeader,
} from '@hanse/cellnet'
import { jobCell, SERVER_CELL } from '@hanse/session'

export interface JobMembersFilterComponents {
  /** Cells of the sites that take part in a job that runs; `undefined` if it does not run. */
  participantsOf(jobId: string): readonly string[] | undefined
  /** True for the private pipe to one of the server's own job processes. */
  isOwnJob(link: PeerLink): boolean
  onRefused(facts: {
    readonly link: PeerLink
    readonly jobId: string
    readonly channel: string
    readonly topic: string
    readonly reason: string
  }): void
}

/**
 * Keeps everybody away from a running job but those who take part: its process answers sites that the server has
 * let in, so that a fault in it could be used by all of them. For jobs that do not run there is nothing to protect,
 * and late messages of honest sites are no attack.
 */
export function jobMembersFilter(components: JobMembersFilterComponents): IncomingFilter {
  return ({ headers, link, forMe }) => {
    if (link === undefined || forMe) return undefined
    const [root, jobId] = (textHeader(headers, HEADER.destination) ?? '').split('.')
    if (root !== SERVER_CELL || jobId === undefined) return undefined
    const participants = components.participantsOf(jobId)
    if (participants === undefined) return undefined
    const origin = textHeader(headers, HEADER.origin) ?? ''
    const reason = components.isOwnJob(link)
      ? `'${link.fqcn}' is another job`
      : objection(participants, jobId, link.fqcn, origin)
    if (reason === undefined) return undefined
    const channel = textHeader(headers, HEADER.channel) ?? ''
    const topic = textHeader(headers, HEADER.topic) ?? ''
    components.onRefused({ link, jobId, channel, topic, reason })
    return { reject: 'unauthenticated', reason }
  }
}

function objection(
  participants: readonly string[],
  jobId: string,
  peer: string,
  origin: string,
): string | undefined {
  const site = participants.find((cell) => isSameOrBelow(peer, cell))
  if (site === undefined) return `'${peer}' takes no part in job ${jobId}`
  // A site itself may tell that its part of the job died.
  if (origin === site || isSameOrBelow(origin, jobCell(site, jobId))) return undefined
  return `'${origin}' is not the part of job ${jobId} at '${site}'`
}
