import { z } from 'zod'
import type { ParamName } from './param-name.ts'

/** Shared pieces of argument schemas; all accept what stock jobs write. */

/** `null` stands for "not given" in stock. */
export const optionalText: z.ZodType<string | undefined> = z
  .string()
  .nullish()
  .transform((text) => text ?? undefined)

/** Whole rounds, 0 or more. */
export const rounds: z.ZodInt = z.int().min(0)

/** A time in seconds, 0 or more; what 0 means the component says. */
export const seconds: z.ZodNumber = z.number().min(0).finite()

/** Arguments that tune the stock process and mean nothing here: accepted, checked for type, not used. */
export const unusedTuning = {
  task_check_period: z.number().positive().default(0.5),
  memory_gc_rounds: rounds.default(0),
} as const satisfies Readonly<Record<string, z.ZodType>>

/** `null`, `false` or `true`: see `ResultErrors`. */
export const ignoreResultError: z.ZodType<boolean | null> = z
  .boolean()
  .nullish()
  .transform((value) => value ?? null)

/** Site → factor. */
export const aggregationWeights: z.ZodType<ReadonlyMap<string, number>> = z
  .record(z.string(), z.number().min(0))
  .nullish()
  .transform((weights) => new Map(Object.entries(weights ?? {})))

/** A pattern in the common part of Python's and JavaScript's regular expressions, found anywhere. */
export const pattern: z.ZodType<RegExp> = z.string().transform((text, context) => {
  try {
    return new RegExp(text)
  } catch {
    context.addIssue({ code: 'custom', message: `"${text.slice(0, 80)}" is no regular expression` })
    return z.NEVER
  }
})

/** Parameters to leave out, by pattern; `undefined`: none. */
export const excludePattern: z.ZodType<ParamName | undefined> = pattern
  .nullish()
  .transform((expression) => (expression ? (name: string) => expression.test(name) : undefined))

/** A file name without folders. */
export const fileName: z.ZodString = z
  .string()
  .regex(/^(?!\.{1,2}$)[^/\\\0]+$/, 'must be a file name without folders')

/** A folder below the run's own, `/` between names. */
export const folder: z.ZodString = z
  .string()
  .regex(
    /^(?!\/)(?:(?!\.{1,2}(?:\/|$))[^/\\\0]+)(?:\/(?!\.{1,2}(?:\/|$))[^/\\\0]+)*$/,
    'must be a relative folder',
  )
