import { z } from 'zod'

/** One data set that a site offers to jobs by name; its path never leaves the site. */
export interface Dataset {
  /** Absolute path of a file or folder at the site. */
  readonly path: string
  /** Privacy scopes whose jobs may use it; `undefined`: every job that may run here. */
  readonly scopes: readonly string[] | undefined
}

/** Schema of `local/datasets.json`. */
export const datasetsSchema = z
  .strictObject({
    format_version: z.literal(1, 'format_version must be 1'),
    datasets: z.record(
      z
        .string()
        .regex(
          /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
          'letters, digits, ., - and _ are allowed, at most 64',
        ),
      z.strictObject({
        path: z
          .string()
          .max(4096)
          .regex(/^\/(?!.*(?:^|\/)\.\.(?:\/|$))/, 'an absolute path without .. is allowed'),
        scopes: z.array(z.string().min(1).max(64)).min(1).max(100).optional(),
      }),
    ),
  })
  .transform(
    ({ datasets }): ReadonlyMap<string, Dataset> =>
      new Map(Object.entries(datasets).map(([name, { path, scopes }]) => [name, { path, scopes }])),
  )
