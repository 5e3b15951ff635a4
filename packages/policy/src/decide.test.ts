import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AccessRequest, decide, type Person } from './decide.ts'
import { readPolicy } from './parse-policy.ts'

interface VectorCase {
  label: string
  permissions: unknown
  right: string
  site_org: string
  user: Person
  submitter: Person | null
  result?: [boolean, string]
  load_error?: string
  exception?: string
}

const vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/policies/authz_cases.json', import.meta.url), 'utf8'),
) as {
  cases: VectorCase[]
  default_policy_matrix: Record<string, Record<string, Record<string, boolean>>>
}

const policyOf = (permissions: unknown) =>
  readPolicy(JSON.stringify({ format_version: '1.0', permissions }))

/** Where stock allows without a rule that says so; see docs of `decide`. */
const STRICTER = new Map([
  ['super', 'role-unknown'],
  ['Super case', 'role-unknown'],
  ['o:submitter user empty org', 'facts-missing'],
  ['n:submitter both empty', 'facts-missing'],
])

function requestOf({ user, submitter, right, site_org }: VectorCase): AccessRequest {
  return {
    subject: user,
    right,
    target: { org: site_org },
    job: { id: 'j', submitter: submitter ?? undefined },
    evidence: 'session',
  }
}

describe('decide', () => {
  it.each(vectors.cases.map((vector) => [vector.label, vector] as const))(
    'follows the vector: %s',
    (label, vector) => {
      const policy = policyOf(vector.permissions)
      const decision = decide(policy, requestOf(vector))
      const stricter = STRICTER.get(label)
      if (vector.load_error !== undefined || vector.exception !== undefined) {
        expect(policy.status).toBe('invalid')
        expect(decision.code).toBe('policy-invalid')
      } else if (stricter !== undefined) {
        expect(vector.result?.[0]).toBe(true)
        expect(decision).toMatchObject({ allowed: false, code: stricter })
      } else {
        expect(decision.allowed).toBe(vector.result?.[0])
        if (!decision.allowed) expect(decision.explanation).toContain(vector.result?.[1])
      }
    },
  )

  it('gives the default policy the rights that stock gives', () => {
    const policy = readPolicy(
      readFileSync(
        new URL(
          '../../../vectors/kits/central/kits/site-default/local/authorization.json.default',
          import.meta.url,
        ),
        'utf8',
      ),
    )
    const scenarios: Record<string, { submitter: [string, string]; site: string }> = {
      own_job_own_site_org: { submitter: ['me@x.org', 'orgA'], site: 'orgA' },
      same_org_job_own_site_org: { submitter: ['peer@x.org', 'orgA'], site: 'orgA' },
      other_org_job_own_site_org: { submitter: ['eve@x.org', 'orgB'], site: 'orgA' },
      own_job_foreign_site: { submitter: ['me@x.org', 'orgA'], site: 'orgB' },
      other_job_foreign_site: { submitter: ['eve@x.org', 'orgB'], site: 'orgB' },
    }
    let checked = 0
    for (const [role, rights] of Object.entries(vectors.default_policy_matrix))
      for (const [right, results] of Object.entries(rights))
        for (const [scenario, expected] of Object.entries(results)) {
          const facts = scenarios[scenario]
          if (facts === undefined) throw new Error(`the vector has a new scenario ${scenario}`)
          const [name, org] = facts.submitter
          const decision = decide(policy, {
            subject: { name: 'me@x.org', org: 'orgA', role },
            right,
            target: { org: facts.site },
            job: { id: 'j', submitter: { name, org, role: 'lead' } },
            evidence: 'session',
          })
          expect([role, right, scenario, decision.allowed]).toEqual([
            role,
            right,
            scenario,
            expected,
          ])
          checked++
        }
    expect(checked).toBeGreaterThan(400)
  })

  it('denies everything without a usable policy, also to project admins', () => {
    const request: AccessRequest = {
      subject: { name: 'a@x.org', org: 'o', role: 'project_admin' },
      right: 'list_jobs',
      target: { org: 'o' },
      evidence: 'signature',
    }
    expect(decide(readPolicy(undefined), request).code).toBe('policy-missing')
    expect(decide(readPolicy('{'), request).code).toBe('policy-invalid')
    expect(decide(readPolicy('[]'), request).code).toBe('policy-invalid')
    expect(decide(policyOf({ project_admin: 'any' }), request).code).toBe('allowed')
  })

  it('denies who is not proven, before reading the policy further', () => {
    const policy = policyOf({ lead: 'any', '': 'any' })
    const subject = { name: 'a', org: 'o', role: 'lead' }
    const target = { org: 'o' }
    expect(decide(policy, { subject, right: 'x', target, evidence: 'none' }).code).toBe(
      'identity-unproven',
    )
    expect(
      decide(policy, {
        subject: { ...subject, role: ' ' },
        right: 'x',
        target,
        evidence: 'session',
      }).code,
    ).toBe('identity-unproven')
  })

  it('lets a ban that cannot be checked ban', () => {
    const policy = policyOf({ lead: { abort_job: ['any', 'not n:submitter'] } })
    const subject = { name: 'a', org: 'o', role: 'lead' }
    const request: AccessRequest = {
      subject,
      right: 'abort_job',
      target: { org: 'o' },
      evidence: 'session',
    }
    expect(decide(policy, request).code).toBe('facts-missing')
    expect(decide(policy, { ...request, job: { id: 'j', submitter: subject } }).code).toBe(
      'condition-forbids',
    )
    const other = { ...subject, name: 'b' }
    expect(decide(policy, { ...request, job: { id: 'j', submitter: other } }).allowed).toBe(true)
  })

  it('says in words which rule decided', () => {
    const policy = policyOf({ lead: { view: ['o:site', 'n:eve'] } })
    const decision = decide(policy, {
      subject: { name: 'bob', org: 'orgB', role: 'lead' },
      right: 'list_jobs',
      target: { org: 'orgA' },
      evidence: 'session',
    })
    expect(decision.explanation).toBe(
      `user 'bob' is not authorized for 'list_jobs': the policy's rule "view" for the role "lead" needs "o:site" or "n:eve"`,
    )
  })

  it('answers every question about every text, the same each time', () => {
    const word = fc.constantFrom('lead', 'any', 'none', 'o:site', 'not any', 'n:submitter', '*', '')
    const condition = fc.oneof(word, fc.string(), fc.array(word), fc.constant(null), fc.integer())
    const permissions = fc.dictionary(
      fc.oneof(word, fc.string(), fc.constant('__proto__'), fc.constant('constructor')),
      fc.oneof(
        condition,
        fc.dictionary(fc.constantFrom('view', 'list_jobs', '*', 'x', '__proto__'), condition),
      ),
    )
    const person = fc.record({
      name: fc.string(),
      org: fc.string(),
      role: fc.oneof(word, fc.string()),
    })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          permissions.map((p) => JSON.stringify({ format_version: '1.0', permissions: p })),
        ),
        person,
        fc.option(person, { nil: undefined }),
        fc.constantFrom('list_jobs', 'view', 'constructor', '__proto__', 'toString', ''),
        (text, subject, submitter, right) => {
          const policy = readPolicy(text)
          const request: AccessRequest = {
            subject,
            right,
            target: { org: 'orgA' },
            job: { id: 'j', submitter },
            evidence: 'session',
          }
          const decision = decide(policy, request)
          expect(decision).toEqual(decide(policy, request))
          expect(decision.explanation.length).toBeGreaterThan(0)
          if (policy.status !== 'loaded') expect(decision.allowed).toBe(false)
        },
      ),
    )
  })
})
