import { SERVER } from '../../test/support/league.ts'

/** What a process of our leagues is, by the place it belongs to and its command line. */
export function roleOfHanse(place: string, command: string): string {
  const kind = place === SERVER ? 'server' : 'site'
  if (command.includes('job-process')) return `${kind} job`
  if (/(bwrap|unshare)/.test(command.split(' ')[0] ?? '')) return 'confinement'
  return command.includes('custom/') ? 'trainer' : kind
}

/** The same of stock leagues, whose trainers run in the process of the site's job. */
export function roleOfStock(place: string, command: string): string {
  if (command.includes('runner_process')) return 'server job'
  if (command.includes('worker_process')) return 'site job'
  return place === SERVER ? 'server' : 'site'
}
