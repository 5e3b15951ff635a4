/** Flags that several commands share. */
export const jsonFlag = {
  kind: 'boolean',
  brief: 'Print the result as JSON on standard output, errors too',
  optional: true,
  withNegated: false,
} as const

const asFlag = {
  kind: 'parsed',
  brief: "Folder of the person's startup kit; default is the environment variable HANSE_KIT",
  placeholder: 'kit',
  parse: String,
  optional: true,
} as const

export const personFlags = { as: asFlag, json: jsonFlag } as const

export const jobParameter = {
  brief: 'Id of the job',
  placeholder: 'job',
  parse: String,
} as const

export const kitParameter = {
  brief: 'Folder of the startup kit, the one that holds startup/ and local/',
  placeholder: 'kit',
  parse: String,
} as const

/** For flags that are a span of time. */
export function parseSeconds(text: string): number {
  const seconds = Number(text)
  // A timer cannot wait longer than 2^31 ms.
  if (!(seconds > 0 && seconds <= 2_000_000))
    throw new Error(`${text} is not a number of seconds from above 0 to 2000000`)
  return seconds
}
