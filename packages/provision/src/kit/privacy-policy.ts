import { type JsonObject, messageOf } from '@hanse/contract'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import { KitFile } from './kit-layout.ts'

/** The privacy scopes of a place: which there are, and which one a job gets that names none. */
export interface PrivacyPolicy {
  /** By name; at least one. */
  readonly scopes: ReadonlyMap<string, PrivacyScope>
  /** Always one of `scopes`; without it a job has to name its scope. */
  readonly defaultScope: string | undefined
}

/** What a place demands of the jobs of one scope. */
export interface PrivacyScope {
  readonly name: string
  /** In the order in which they run, those of data first. */
  readonly filters: readonly ScopeFilter[]
}

/** One filter as the file describes it. A site filters data that come in and results that go out, a server the reverse. */
export interface ScopeFilter {
  /** Place in the file, e.g. `scopes[0].task_result_filters[1]`. */
  readonly where: string
  readonly payload: 'data' | 'result'
  /** A component of a job's config: `path` or `name`, and `args`. */
  readonly component: JsonObject
}

/** Whether a place runs jobs of a scope, and what that scope is; no scope where the place has no policy. */
export type ScopeDecision =
  | { readonly allowed: true; readonly scope: PrivacyScope | undefined }
  | { readonly allowed: false; readonly code: 'scope-not-allowed'; readonly reason: string }

/**
 * Decides as stock does (`spec/policies.md` §2): a job without a scope gets the default one; one whose scope is not
 * there, or that names none where there is no default, is not allowed. A place without a policy allows every scope.
 * @param asked scope in the job's meta; empty for none
 */
export function decideScope(policy: PrivacyPolicy | undefined, asked: string): ScopeDecision {
  if (policy === undefined) return { allowed: true, scope: undefined }
  const scope = policy.scopes.get(asked === '' ? (policy.defaultScope ?? '') : asked)
  if (scope !== undefined) return { allowed: true, scope }
  const why =
    asked === ''
      ? 'the job names none, and there is no default here'
      : 'there is no scope of that name here'
  return {
    allowed: false,
    code: 'scope-not-allowed',
    reason: `privacy scope '${asked}' is not allowed: ${why}`,
  }
}

/**
 * Has the filters of every scope made once, as a job would have them made: a place whose protection would fail in the
 * job must not start.
 * @throws {ProvisionError} `ERR_KIT_FILE` with the words of `make`
 */
export function tryPrivacyFilters(
  policy: PrivacyPolicy | undefined,
  make: (filters: readonly ScopeFilter[]) => unknown,
): void {
  for (const { filters } of policy?.scopes.values() ?? [])
    try {
      make(filters)
    } catch (cause) {
      throw new ProvisionError(
        'ERR_KIT_FILE',
        `${KitFile.privacy}: ${messageOf(cause)}`,
        {},
        { cause },
      )
    }
}

/** The rules of a place in one line, for its record. */
export function describePrivacy(policy: PrivacyPolicy | undefined): string {
  if (policy === undefined) return 'no privacy scopes: nothing is filtered'
  const scopes = Array.from(
    policy.scopes.values(),
    ({ name, filters }) => `'${name}' with ${filters.length} filter(s)`,
  )
  const usual =
    policy.defaultScope === undefined ? 'no default' : `default '${policy.defaultScope}'`
  return `privacy scopes ${scopes.join(', ')}; ${usual}`
}

const MAX_SCOPES = 100
const MAX_FILTERS = 100
const MAX_NAME_CHARS = 256

const name = z
  .string()
  .min(1, 'the name of a scope is not empty')
  .max(MAX_NAME_CHARS)
  .regex(/^\P{Cc}*$/u, 'control characters are not allowed in the name of a scope')

const reference = {
  path: z.string().min(1).optional(),
  class_path: z.string().min(1).optional(),
  name: z.string().min(1).optional(),
  args: z.record(z.string(), z.json()).optional(),
  disabled: z.boolean().default(false),
}

/** Stock ignores what it does not know, and a misspelt list of filters with it. Here it is an error. */
function exactly<Shape extends z.ZodRawShape>(shape: Shape) {
  const allowed = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `saw ${issue.keys.map((key) => JSON.stringify(key.slice(0, 80))).join(', ')}; allowed are ${allowed}`
        : undefined,
  })
}

const isOneReference = (component: {
  readonly path?: string | undefined
  readonly class_path?: string | undefined
  readonly name?: string | undefined
}): boolean =>
  [component.path, component.class_path, component.name].filter((one) => one !== undefined)
    .length === 1
const ONE_REFERENCE = 'exactly one of path, class_path and name is needed'

/** A list of filters, without those that are switched off. */
function filterList(payload: ScopeFilter['payload'], side: 'server' | 'site') {
  const usual = (payload === 'data') === (side === 'server') ? 'out' : 'in'
  const filter = exactly({
    ...reference,
    direction: z
      .string()
      .transform((direction) => direction.toLowerCase())
      // In stock the other direction is accepted and never happens: a filter that never runs.
      .refine(
        (direction) => direction === usual || direction === 'inout',
        `a ${side} filters ${payload} that ${usual === 'in' ? 'come in' : 'go out'}: "${usual}" or "inout" is allowed`,
      )
      .optional(),
  })
    .refine(isOneReference, ONE_REFERENCE)
    .transform(({ direction: _, disabled, ...component }) => ({
      disabled,
      component: component as JsonObject, // what is not there is absent, not undefined
    }))
  return z.array(filter).max(MAX_FILTERS).default([])
}

/**
 * Schema of `local/privacy.json` (`spec/policies.md` §2). `properties` are checked and not used: what trainers may read
 * are data sets.
 */
export function privacySchema(side: 'server' | 'site'): z.ZodType<PrivacyPolicy> {
  const scope = exactly({
    name,
    properties: z.record(z.string(), z.json()).optional(),
    task_data_filters: filterList('data', side),
    task_result_filters: filterList('result', side),
  })
  const component = exactly({ id: z.string().min(1), ...reference }).refine(
    isOneReference,
    ONE_REFERENCE,
  )
  return exactly({
    scopes: z
      .array(scope)
      .min(1, 'at least one scope is needed; without this file nothing is filtered')
      .max(MAX_SCOPES),
    default_scope: name.optional(),
    components: z.array(component).max(MAX_FILTERS).default([]),
  })
    .superRefine(({ scopes, default_scope, components }, context) => {
      const complain = (path: (string | number)[], message: string) =>
        context.addIssue({ code: 'custom', path, message })
      for (const index of repeats(scopes.map((one) => one.name)))
        complain(['scopes', index, 'name'], `there is another scope "${scopes[index]?.name}"`)
      for (const index of repeats(components.map(({ id }) => id)))
        complain(['components', index, 'id'], `the id "${components[index]?.id}" is used twice`)
      if (default_scope !== undefined && scopes.every((one) => one.name !== default_scope))
        complain(
          ['default_scope'],
          `saw "${default_scope}"; the scopes are ${scopes.map((one) => one.name).join(', ')}`,
        )
      // Stock has them for the cleansers of its statistics filter. No filter of ours asks for a component: what stands
      // here would protect nothing.
      for (const [index, one] of components.entries())
        if (!one.disabled)
          complain(
            ['components', index],
            `"${one.path ?? one.class_path ?? one.name}" is used by no filter that Hanse has; remove it, or set disabled to true`,
          )
    })
    .transform(({ scopes, default_scope }) => ({
      scopes: new Map(
        scopes.map((one, index) => [
          one.name,
          {
            name: one.name,
            filters: [
              ...scopeFilters(one.task_data_filters, 'data', index),
              ...scopeFilters(one.task_result_filters, 'result', index),
            ],
          },
        ]),
      ),
      defaultScope: default_scope,
    }))
}

function scopeFilters(
  list: readonly { readonly disabled: boolean; readonly component: JsonObject }[],
  payload: ScopeFilter['payload'],
  scope: number,
): ScopeFilter[] {
  return list.flatMap(({ disabled, component }, index) =>
    disabled
      ? []
      : [{ where: `scopes[${scope}].task_${payload}_filters[${index}]`, payload, component }],
  )
}

/** Indices of what is in the list before already. */
function repeats(names: readonly string[]): number[] {
  return names.flatMap((one, index) => (names.indexOf(one) < index ? [index] : []))
}
