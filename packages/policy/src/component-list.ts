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
