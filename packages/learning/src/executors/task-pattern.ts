/**
 * Whether a shell pattern (`*` any text, `?` any character, `[abc]`, `[!a-z]`) matches the whole name.
 * Takes at most pattern × name steps, whatever the pattern.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  let p = 0
  let n = 0
  // Where to go on when the text after the last `*` does not match.
  let starP = -1
  let starN = 0
  while (n < name.length) {
    const step = p < pattern.length ? matchOne(pattern, p, name[n]!) : undefined
    if (pattern[p] === '*') {
      starP = p++
      starN = n
    } else if (step !== undefined) {
      p = step
      n++
    } else if (starP >= 0) {
      p = starP + 1
      n = ++starN
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

/** Where the pattern goes on after matching one character; `undefined` when it does not match. */
function matchOne(pattern: string, at: number, char: string): number | undefined {
  const token = pattern[at]
  if (token === '?') return at + 1
  if (token !== '[') return token === char ? at + 1 : undefined
  const negated = pattern[at + 1] === '!'
  const first = at + (negated ? 2 : 1)
  // A `]` right at the start is an ordinary member.
  const close = pattern.indexOf(']', first + 1)
  if (close < 0) return char === '[' ? at + 1 : undefined
  let found = false
  for (let i = first; i < close; i++) {
    const low = pattern[i]!
    if (pattern[i + 1] === '-' && i + 2 < close) {
      if (low <= char && char <= pattern[i + 2]!) found = true
      i += 2
    } else if (low === char) found = true
  }
  return found === negated ? undefined : close + 1
}
