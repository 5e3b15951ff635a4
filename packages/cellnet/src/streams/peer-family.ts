/**
 * The first segment of an FQCN: `site-1` for `site-1.job`. Budgets are kept per family, since a peer can make
 * up any number of names below its own.
 */
export function familyOf(fqcn: string): string {
  const dot = fqcn.indexOf('.')
  return dot < 0 ? fqcn : fqcn.slice(0, dot)
}

/** Whether `fqcn` is `ancestor` or a cell below it. */
export function isAtOrBelow(fqcn: string, ancestor: string): boolean {
  return fqcn === ancestor || fqcn.startsWith(`${ancestor}.`)
}
