/**
 * Cuts a command into words as stock does (`spec/admin.md` §4): with quotes in it like a shell, else at runs of
 * blanks, where a leading blank gives an empty word. Quotes that do not match mean nothing.
 */
export function splitWords(text: string): string[] {
  if (text.includes('"') || text.includes("'")) {
    const words = splitQuoted(text)
    if (words !== undefined && words.length > 0) return words
  }
  return text.split(/ +/)
}

/** One text of several words, such that {@link splitWords} gives them back; words are not empty. */
export function joinWords(words: readonly string[]): string {
  return words
    .map((word) =>
      /[\s"'\\]/.test(word) ? `"${word.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"` : word,
    )
    .join(' ')
}

/** @returns `undefined` if a quote or a backslash has no end */
function splitQuoted(text: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote: '"' | "'" | undefined
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (quote === undefined) {
      if (/\s/.test(character)) {
        if (word !== undefined) words.push(word)
        word = undefined
      } else if (character === '"' || character === "'") {
        quote = character
        word ??= ''
      } else if (character === '\\') {
        if (++i >= text.length) return undefined
        word = (word ?? '') + text[i]!
      } else word = (word ?? '') + character
    } else if (character === quote) quote = undefined
    else if (
      character === '\\' &&
      quote === '"' &&
      i + 1 < text.length &&
      '"\\'.includes(text[i + 1]!)
    )
      word += text[++i]!
    else word += character
  }
  if (quote !== undefined) return undefined
  if (word !== undefined) words.push(word)
  return words
}
