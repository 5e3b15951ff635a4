/**
 * The name to look up for `host`: everything below `localhost` is this machine (RFC 6761 §6.3), which few resolvers
 * know and none should be asked.
 */
export function lookupName(host: string): string {
  return /\.localhost\.?$/i.test(host) ? 'localhost' : host
}
