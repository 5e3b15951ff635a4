/** How names, roles, organizations and conditions are compared: lower case, runs of white space as one space. */
export function normalize(text: string): string {
  return text.toLowerCase().trim().replace(/\s+/g, ' ')
}
