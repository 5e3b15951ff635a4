import {
  HEADER,
  type HeaderValue,
  type IncomingFilter,
  type PeerLink,
  textHeader,
} from '@hanse/cellnet'
import { CHANNEL, isAtOrBelow, SERVER_CELL, TASK_TOPIC } from '@hanse/session'

export interface JobEgressComponents {
  /** The job that the process at the other end of a link runs; `undefined` for any other link. */
  jobOf(link: PeerLink): string | undefined
  onRefused(facts: {
    readonly job: string
    readonly destination: string
    readonly channel: string
    readonly topic: string
    readonly reason: string
  }): void
}

/** Channels on which a job may speak to its own server job. */
const TO_SERVER_JOB: ReadonlySet<string> = new Set([
  CHANNEL.serverCommand,
  CHANNEL.aux,
  'download_service__',
  'return_only',
  'sm__STREAM',
])

/** What a job may ask of its own site. */
const TO_OWN_SITE: ReadonlySet<string> = new Set([CHANNEL.admin, CHANNEL.cellnet])

const TASK_TOPICS: ReadonlySet<string> = new Set([TASK_TOPIC.get, TASK_TOPIC.submit])

/**
 * The site's only way out for jobs: a job process reaches its own server job, and its own site, on the channels of
 * the task exchange. Everything else is refused, whatever headers it carries.
 */
export function jobEgressFilter(ownCell: string, components: JobEgressComponents): IncomingFilter {
  return ({ headers, link }) => {
    if (link === undefined) return undefined
    const job = components.jobOf(link)
    if (job === undefined) return undefined
    const destination = textHeader(headers, HEADER.destination) ?? ''
    const channel = textHeader(headers, HEADER.channel) ?? ''
    const topic = textHeader(headers, HEADER.topic) ?? ''
    const reason = objection(ownCell, job, headers, destination, channel, topic)
    if (reason === undefined) return undefined
    components.onRefused({ job, destination, channel, topic, reason })
    return { reject: 'unauthenticated', reason }
  }
}

function objection(
  ownCell: string,
  job: string,
  headers: ReadonlyMap<string, HeaderValue>,
  destination: string,
  channel: string,
  topic: string,
): string | undefined {
  if (!isAtOrBelow(textHeader(headers, HEADER.origin) ?? '', `${ownCell}.${job}`))
    return 'a job process speaks for its own cell only'
  if (destination === ownCell)
    return TO_OWN_SITE.has(channel)
      ? undefined
      : `a job may not use channel '${channel}' at its site`
  if (destination !== `${SERVER_CELL}.${job}`)
    return `a job may not reach the cell '${destination}'`
  const streamed = channel === 'sm__STREAM'
  const applicationChannel = streamed ? (textHeader(headers, 'sm__ch') ?? channel) : channel
  const applicationTopic = streamed ? (textHeader(headers, 'sm__tp') ?? '') : topic
  if (!TO_SERVER_JOB.has(applicationChannel))
    return `a job may not use channel '${applicationChannel}' at the server`
  if (applicationChannel === CHANNEL.serverCommand && !TASK_TOPICS.has(applicationTopic))
    return `a job may not ask '${applicationTopic}' of the server`
  return undefined
}
