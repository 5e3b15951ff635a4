import type { Filter } from '../components/contracts.ts'
import type { DataKind } from '../model/data-kind.ts'
import { DxoFilter } from './dxo-filter.ts'

/** Which parameters: by name, or by a pattern found anywhere in it. */
export type VariableNames = { readonly names: readonly string[] } | { readonly pattern: RegExp }

/** True for the names that are meant. */
export function matchesVariable(which: VariableNames): (name: string) => boolean {
  if ('pattern' in which) return (name) => which.pattern.test(name)
  const names = new Set(which.names)
  return (name) => names.has(name)
}

/** Removes parameters (policies.md §5.2). */
export function excludeVars(which: VariableNames, kinds: readonly DataKind[]): Filter {
  const matches = matchesVariable(which)
  return new DxoFilter('ExcludeVars', kinds, (data, _dxo, { log, taskName }) => {
    const kept = new Map([...data].filter(([name]) => !matches(name)))
    if (kept.size === data.size)
      log.warn('ExcludeVars removes nothing from this task', { taskName })
    return kept
  })
}
