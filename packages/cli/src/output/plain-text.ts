const CONTROL = /(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu

/**
 * Text of others, made harmless for a terminal: control characters, which could move the cursor or recolour what we
 * say ourselves, and characters that turn the direction of writing are shown as `\xNN`.
 */
export function plainText(text: string): string {
  return text.replace(CONTROL, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** The same on one line. */
export function plainLine(text: string): string {
  return plainText(text).replace(/\s*\n\s*/g, ' ')
}
