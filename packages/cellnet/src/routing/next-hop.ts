import { fqcnFault, isBelow, isOnServer, parentOf, prefixesOf, rootOf, SERVER } from './fqcn.ts'

/** What the choice of a hop depends on besides the peer table. */
export interface RouteQuery {
  readonly self: string
  readonly destination: string
  /** Header `cn__server_transit_required`. */
  readonly serverTransit: boolean
  /** Cells that the message has passed, creator first. */
  readonly route: readonly string[]
  /** Directly connected cell it came from; `undefined` for our own messages. */
  readonly cameFrom: string | undefined
}

export type RouteChoice =
  | { readonly kind: 'local' }
  | { readonly kind: 'hop'; readonly fqcn: string }
  | { readonly kind: 'fail'; readonly returnCode: 'invalid_target' | 'target_unreachable' }

const UNREACHABLE: RouteChoice = { kind: 'fail', returnCode: 'target_unreachable' }

/** Next hop for a message; `spec/transport.md` §4.4, same order of rules. Pure. */
export function nextHop(query: RouteQuery, isPeer: (fqcn: string) => boolean): RouteChoice {
  if (fqcnFault(query.destination) !== undefined)
    return { kind: 'fail', returnCode: 'invalid_target' }
  if (query.destination === query.self) return { kind: 'local' }
  const hop = chooseHop(query, isPeer)
  if (hop === undefined || isLoop(query, hop)) return UNREACHABLE
  return { kind: 'hop', fqcn: hop }
}

function chooseHop(query: RouteQuery, isPeer: (fqcn: string) => boolean): string | undefined {
  const { self, destination } = query
  const parent = parentOf(self)
  if (query.serverTransit && !isOnServer(self) && !isTransitReturn(query)) {
    if (isPeer(SERVER)) return SERVER
    return parent === undefined ? undefined : longestPeer(parent, isPeer)
  }
  if (isPeer(destination)) return destination
  if (rootOf(destination) === rootOf(self)) {
    if (parentOf(destination) === self) return undefined
    if (isBelow(destination, self)) {
      // Only cells between us and the destination: our own ancestors know no better way down.
      const hop = longestPeer(destination, isPeer)
      return hop !== undefined && isBelow(hop, self) ? hop : undefined
    }
    if (parent !== undefined && isPeer(parent)) return parent
  }
  const prefix = longestPeer(destination, isPeer)
  if (prefix !== undefined) return prefix
  if (self !== SERVER && isPeer(SERVER)) return SERVER
  return parent !== undefined && isPeer(parent) ? parent : undefined
}

function longestPeer(name: string, isPeer: (fqcn: string) => boolean): string | undefined {
  for (const prefix of prefixesOf(name)) if (isPeer(prefix)) return prefix
  return undefined
}

function isLoop(query: RouteQuery, hop: string): boolean {
  if (hop === query.destination || !query.route.includes(hop)) return false
  if (query.self === SERVER && query.serverTransit && !query.route.includes(SERVER)) return false
  return !(isTransitReturn(query) && isBelow(hop, query.self))
}

/** The message has crossed the server and is on its way down to its destination. */
function isTransitReturn({ self, serverTransit, route, cameFrom }: RouteQuery): boolean {
  if (isOnServer(self) || !serverTransit || !route.includes(SERVER)) return false
  return cameFrom === SERVER || (cameFrom !== undefined && cameFrom === parentOf(self))
}
