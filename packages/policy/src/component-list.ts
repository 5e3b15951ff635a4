/**
 * True if a list of components (`class_allow_list`, `spec/policies.md` §3.2) has `path`: an entry is the path itself,
 * a package that it lies in, with or without a dot at its end, or `*` for all.
 */
export function allowsComponent(list: readonly string[], path: string): boolean {
  return list.some((entry) => {
    if (entry === '*' || entry === path) return true
    const prefix = entry.endsWith('.') ? entry : `${entry}.`
    return prefix.length > 1 && path.startsWith(prefix)
  })
}

/** True for a component that a place's list has, or if it has no list, or only warns (`class_list_enforcement_mode`). */
export function isListedComponent(
  {
    mode,
    allowed,
  }: { readonly mode: 'enforce' | 'warn'; readonly allowed: readonly string[] | undefined },
  path: string,
): boolean {
  return mode === 'warn' || allowed === undefined || allowsComponent(allowed, path)
}
