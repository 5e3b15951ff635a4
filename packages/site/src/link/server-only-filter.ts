import { HEADER, type IncomingFilter, type PeerLink, textHeader } from '@hanse/cellnet'
import { CHANNEL, isAtOrBelow, SERVER_CELL } from '@hanse/session'

export interface ServerOnlyFilterComponents {
  isOwnJob(link: PeerLink): boolean
  onRefused(facts: {
    readonly origin: string
    readonly channel: string
    readonly topic: string
    readonly reason: string
  }): void
}

/**
 * What a site takes from outside: messages that come over the link to its server. Commands only from the server
 * itself, and for its jobs only what their own server job sends.
 */
export function serverOnlyFilter(components: ServerOnlyFilterComponents): IncomingFilter {
  return ({ headers, link, forMe }) => {
    if (link === undefined || components.isOwnJob(link)) return undefined
    const origin = textHeader(headers, HEADER.origin) ?? ''
    const channel = textHeader(headers, HEADER.channel) ?? ''
    const topic = textHeader(headers, HEADER.topic) ?? ''
    const destination = textHeader(headers, HEADER.destination) ?? ''
    const reason = objection(origin, destination, channel, link, forMe)
    if (reason === undefined) return undefined
    components.onRefused({ origin, channel, topic, reason })
    return { reject: 'unauthenticated', reason }
  }
}

function objection(
  origin: string,
  destination: string,
  channel: string,
  link: PeerLink,
  forMe: boolean,
): string | undefined {
  if (link.fqcn !== SERVER_CELL) return `it came over the link to '${link.fqcn}', not to the server`
  if (!isAtOrBelow(origin, SERVER_CELL)) return 'another member may not speak to this site'
  if (forMe)
    return channel === CHANNEL.admin && origin !== SERVER_CELL
      ? 'only the server itself gives commands'
      : undefined
  const job = destination.split('.').at(-1)
  return origin === `${SERVER_CELL}.${job}`
    ? undefined
    : `'${origin}' is not the server's part of job ${job}`
}
