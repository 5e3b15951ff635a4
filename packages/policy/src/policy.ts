import type { Condition } from './condition.ts'

/** The conditions of one right, in the order of the file; never empty. */
export interface Control {
  readonly conditions: readonly Condition[]
  /** The key of the file it was granted by: the right itself, its category, `*`, or the whole role. */
  readonly grantedBy: string
}

/** What one role may do. */
export interface RolePermissions {
  /** Decides every right when present. */
  readonly everything: Control | undefined
  readonly rights: ReadonlyMap<string, Control>
}

/** A place's authorization policy in one of its three conditions; only a loaded one can allow anything. */
export type Policy =
  | {
      readonly status: 'loaded'
      /** By normalised role. */
      readonly roles: ReadonlyMap<string, RolePermissions>
      /** What is probably not meant: rights that nothing checks, keys that mean nothing, roles given twice. */
      readonly warnings: readonly string[]
    }
  | { readonly status: 'missing' }
  | { readonly status: 'invalid'; readonly problem: string }

/** The policy of a place that has none: it denies everything. */
export const MISSING_POLICY: Policy = { status: 'missing' }
