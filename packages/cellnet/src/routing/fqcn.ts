import { CellError } from '../cell-error.ts'

/** Longest name accepted; stock sets none, real ones stay below 150. */
const MAX_FQCN_LENGTH = 512
const ALLOWED = /^[A-Za-z0-9_.~-]+$/
const ADMIN = /^_admin_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

/** FQCN of the root server cell. */
export const SERVER = 'server'

/** What is wrong with a trimmed name, or `undefined` if it is a valid FQCN (`spec/transport.md` §4.1). */
export function fqcnFault(name: string): string | undefined {
  if (name === '') return 'empty'
  if (name.length > MAX_FQCN_LENGTH) return `longer than ${MAX_FQCN_LENGTH} characters`
  if (!ALLOWED.test(name)) return 'invalid char'
  const segments = name.split('.')
  if (segments.includes('')) return 'empty part'
  const seen = new Set<string>()
  for (const segment of segments) {
    if (seen.has(segment)) return `dup '${segment}'`
    seen.add(segment)
  }
  return undefined
}

/** @throws {CellError} `ERR_FQCN` */
export function parseFqcn(name: string): string {
  const trimmed = name.trim()
  const fault = fqcnFault(trimmed)
  if (fault !== undefined) throw new CellError('ERR_FQCN', `not a valid cell name: ${fault}`)
  return trimmed
}

/** Whether `name` is strictly below `ancestor`. */
export function isBelow(name: string, ancestor: string): boolean {
  return name.startsWith(`${ancestor}.`)
}

/** Whether `name` is `ancestor` or below it. */
export function isSameOrBelow(name: string, ancestor: string): boolean {
  return name === ancestor || isBelow(name, ancestor)
}

/** All but the last segment; `undefined` for a root cell. */
export function parentOf(name: string): string | undefined {
  const dot = name.lastIndexOf('.')
  return dot < 0 ? undefined : name.slice(0, dot)
}

/** First segment. */
export function rootOf(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? name : name.slice(0, dot)
}

/** Last segment. */
export function leafOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

/** Whether the cell belongs to the server's family. */
export function isOnServer(name: string): boolean {
  return rootOf(name) === SERVER
}

/** `name`, its parent, its grandparent … down to the root. */
export function* prefixesOf(name: string): Generator<string> {
  for (let prefix: string | undefined = name; prefix !== undefined; prefix = parentOf(prefix))
    yield prefix
}

/** Whether `name` is that of an admin session: `_admin_` and a UUID version 4. */
export function isAdminName(name: string): boolean {
  return ADMIN.test(name)
}

/** Whether what `self` says to `target` passes the link between its parent and `lost`. */
export function isBehind(target: string, lost: string, self: string): boolean {
  return isSameOrBelow(target, lost) || (lost === SERVER && rootOf(target) !== rootOf(self))
}
