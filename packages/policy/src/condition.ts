import { normalize } from './normalize.ts'
import { PolicyError } from './policy-error.ts'

/** What one condition compares, without its `not`. */
export type Test =
  | { readonly kind: 'any' }
  | { readonly kind: 'none' }
  /** The subject's organization or name is `value`. */
  | { readonly kind: 'organization' | 'name'; readonly value: string }
  /** The subject is of the evaluating place's organization. */
  | { readonly kind: 'same-organization-as-site' }
  /** The subject is, or is of the organization of, the person who submitted the job. */
  | { readonly kind: 'same-organization-as-submitter' | 'is-submitter' }

export interface Condition {
  readonly negated: boolean
  readonly test: Test
  /** As the file says it, normalised; for explanations. */
  readonly text: string
}

/**
 * Reads one condition: `["not "] ( any | all | none | no | o:T | org:T | n:T | name:T )` (`spec/policies.md` §1.1).
 * @param place where it stands in the file, for the message
 * @throws {PolicyError} `ERR_POLICY_CONDITION`
 */
export function parseCondition(expression: string, place: string): Condition {
  const text = normalize(expression)
  const negated = text.startsWith('not ')
  const body = negated ? text.slice('not '.length) : text
  return { negated, test: parseTest(body, text, place), text }
}

function parseTest(body: string, text: string, place: string): Test {
  if (body === 'any' || body === 'all') return { kind: 'any' }
  if (body === 'none' || body === 'no') return { kind: 'none' }
  const parts = body.split(':')
  const [type = '', target = ''] = parts.map((part) => part.trim())
  if (parts.length !== 2)
    throw new PolicyError(
      'ERR_POLICY_CONDITION',
      `${place}: bad condition expression ${JSON.stringify(text)}; any, none, o:<organization> and n:<name> are known, each with "not " before it`,
    )
  switch (type) {
    case 'o':
    case 'org':
      if (target === 'site') return { kind: 'same-organization-as-site' }
      if (target === 'submitter') return { kind: 'same-organization-as-submitter' }
      return { kind: 'organization', value: target }
    case 'n':
    case 'name':
      return target === 'submitter' ? { kind: 'is-submitter' } : { kind: 'name', value: target }
    default:
      throw new PolicyError(
        'ERR_POLICY_CONDITION',
        `${place}: bad condition expression ${JSON.stringify(text)}: invalid type ${JSON.stringify(type)}; o, org, n and name are known`,
      )
  }
}
