import type { Condition } from './condition.ts'
import { normalize } from './normalize.ts'
import type { Control, Policy } from './policy.ts'

/** A person as their certificate names them. */
export interface Person {
  readonly name: string
  readonly org: string
  readonly role: string
}

/**
 * How the place that decides knows who asks. `signature`: the person's own signature was verified here;
 * `session`: the person logged in here with certificate and key; `relayed`: the server said so over its
 * authenticated link, and nothing proves it; `none`: nothing.
 */
export type Evidence = 'signature' | 'session' | 'relayed' | 'none'

/** One question to a policy. */
export interface AccessRequest {
  readonly subject: Person
  /** A command, `byoc`, or another right; compared as it is, without normalising. */
  readonly right: string
  /** The place that decides: a site, or the server. */
  readonly target: { readonly name?: string | undefined; readonly org: string }
  /** The job concerned, if any, and who submitted it, if known. */
  readonly job?: { readonly id: string; readonly submitter?: Person | undefined } | undefined
  readonly evidence: Evidence
}

/** Why a request was denied. Codes are stable: they go into replies and into the audit record. */
export type DenialCode =
  | 'policy-missing'
  | 'policy-invalid'
  /** Nothing proves who asks, or the person has no name or no role. */
  | 'identity-unproven'
  | 'role-unknown'
  | 'right-not-granted'
  /** A `not` condition matched. */
  | 'condition-forbids'
  | 'no-condition-met'
  /** A condition compares with the submitter or an organization, and that is not known. */
  | 'facts-missing'

/** The answer of {@link decide}; explains itself to a person in one sentence. */
export type Decision =
  | { readonly allowed: true; readonly code: 'allowed'; readonly explanation: string }
  | { readonly allowed: false; readonly code: DenialCode; readonly explanation: string }

/**
 * Decides whether `request` is allowed by `policy`. Pure and total: the same question gets the same answer,
 * nothing throws, and what is not understood is denied. Follows stock's evaluation (`spec/policies.md` §1.3)
 * except where stock allows without a rule that says so: the role `super` means nothing here, a missing policy
 * denies, and a submitter who is not known is nobody rather than a person without name and organization.
 */
export function decide(policy: Policy, request: AccessRequest): Decision {
  const { subject, right, evidence } = request
  if (policy.status === 'missing')
    return denied(request, 'policy-missing', 'this place has no authorization policy')
  if (policy.status === 'invalid')
    return denied(request, 'policy-invalid', `the policy cannot be used: ${policy.problem}`)
  if (evidence === 'none')
    return denied(request, 'identity-unproven', 'nothing proves who is asking')
  const role = normalize(subject.role)
  if (role === '') return denied(request, 'identity-unproven', 'the person has no role')
  const permissions = policy.roles.get(role)
  if (permissions === undefined)
    return denied(request, 'role-unknown', `the policy does not know the role ${quoted(role)}`)
  const control = permissions.everything ?? permissions.rights.get(right)
  if (control === undefined)
    return denied(
      request,
      'right-not-granted',
      `the policy grants the role ${quoted(role)} neither this right nor a category that has it`,
    )
  return decideByControl(control, request, role)
}

function decideByControl(control: Control, request: AccessRequest, role: string): Decision {
  const rule = `the policy's rule ${quoted(control.grantedBy)} for the role ${quoted(role)}`
  const results = control.conditions.map((condition) => ({
    condition,
    outcome: evaluate(condition, request),
  }))
  for (const { condition, outcome } of results) {
    if (!condition.negated || outcome === 'differs') continue
    // A ban that cannot be checked bans.
    return outcome === 'matches'
      ? denied(request, 'condition-forbids', `${rule} says ${quoted(condition.text)}`)
      : missingFacts(request, rule, condition, outcome)
  }
  const positive = results.filter(({ condition }) => !condition.negated)
  if (positive.length === 0) return allowed(request, `${rule} forbids others only`)
  const met = positive.find(({ outcome }) => outcome === 'matches')
  if (met !== undefined) return allowed(request, `${rule} says ${quoted(met.condition.text)}`)
  for (const { condition, outcome } of positive)
    if (outcome !== 'matches' && outcome !== 'differs')
      return missingFacts(request, rule, condition, outcome)
  const needed = positive.map(({ condition }) => quoted(condition.text)).join(' or ')
  return denied(request, 'no-condition-met', `${rule} needs ${needed}`)
}

/** Whether a condition's test holds, its `not` left aside; or what is not known of it. */
type Outcome = 'matches' | 'differs' | { readonly unknown: string }

function evaluate({ test }: Condition, { subject, target, job }: AccessRequest): Outcome {
  const submitter = job?.submitter
  switch (test.kind) {
    case 'any':
      return 'matches'
    case 'none':
      return 'differs'
    case 'organization':
      return compare(subject.org, test.value)
    case 'name':
      return compare(subject.name, test.value)
    case 'same-organization-as-site':
      return compareKnown(subject.org, target.org, 'the organization of the person or the site')
    case 'same-organization-as-submitter':
      return compareKnown(
        subject.org,
        submitter?.org,
        'the organization of the person or of the submitter of the job',
      )
    case 'is-submitter':
      return compareKnown(subject.name, submitter?.name, 'who submitted the job')
  }
}

function compare(left: string, right: string): 'matches' | 'differs' {
  return normalize(left) === normalize(right) ? 'matches' : 'differs'
}

/** Two absent facts are not the same fact: what is empty equals nothing. */
function compareKnown(left: string, right: string | undefined, what: string): Outcome {
  if (right === undefined || normalize(left) === '' || normalize(right) === '')
    return { unknown: what }
  return compare(left, right)
}

function allowed(request: AccessRequest, because: string): Decision {
  const { subject, right } = request
  return {
    allowed: true,
    code: 'allowed',
    explanation: `user '${subject.name}' is authorized for '${right}': ${because}`,
  }
}

/** Begins as stock's text does, so that tools which look for it find it. */
function denied(request: AccessRequest, code: DenialCode, because: string): Decision {
  const { subject, right } = request
  return {
    allowed: false,
    code,
    explanation: `user '${subject.name}' is not authorized for '${right}': ${because}`,
  }
}

function missingFacts(
  request: AccessRequest,
  rule: string,
  condition: Condition,
  { unknown }: { readonly unknown: string },
): Decision {
  return denied(
    request,
    'facts-missing',
    `${rule} says ${quoted(condition.text)}, but ${unknown} is not known`,
  )
}

function quoted(text: string): string {
  return JSON.stringify(text)
}
