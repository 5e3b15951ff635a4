import { messageOf } from '@hanse/contract'
import { z } from 'zod'
import { commandsOf, KNOWN_RIGHTS } from './command-category.ts'
import { parseCondition } from './condition.ts'
import { normalize } from './normalize.ts'
import { type Control, MISSING_POLICY, type Policy, type RolePermissions } from './policy.ts'
import { PolicyError } from './policy-error.ts'

/** More than any policy needs; a bound on what a start-up reads. */
const MAX_POLICY_CHARACTERS = 1_048_576

const TopLevel = z.record(z.string(), z.unknown())

/**
 * Reads the text of an `authorization.json`.
 * @throws {PolicyError} that names the place and the reason
 */
export function parsePolicy(text: string): Policy & { readonly status: 'loaded' } {
  const file = readObject(text)
  if (file.size === 0) throw new PolicyError('ERR_POLICY_FORMAT', 'policy definition is empty')
  if (file.get('format_version') !== '1.0')
    throw new PolicyError(
      'ERR_POLICY_VERSION',
      `missing or invalid policy format_version: must be 1.0 (as text), but is ${JSON.stringify(file.get('format_version')) ?? 'absent'}`,
    )
  const warnings = [...file.keys()]
    .filter((key) => key !== 'format_version' && key !== 'permissions')
    .map((key) => `/${key}: unknown key; nothing reads it`)
  const roles = new Map<string, RolePermissions>()
  for (const [name, value] of permissionsOf(file.get('permissions'))) {
    const role = normalize(name)
    if (roles.has(role))
      warnings.push(
        `/permissions/${name}: the role is given twice; later rights replace earlier ones`,
      )
    const permissions = readRole(value, `/permissions/${name}`, warnings)
    roles.set(role, merged(roles.get(role), permissions))
  }
  return { status: 'loaded', roles, warnings }
}

/**
 * Reads a policy for {@link decide} and never throws: no text is a missing policy, a bad one an invalid policy,
 * and both deny everything.
 */
export function readPolicy(text: string | undefined): Policy {
  if (text === undefined) return MISSING_POLICY
  try {
    return parsePolicy(text)
  } catch (error) {
    return { status: 'invalid', problem: messageOf(error) }
  }
}

function readObject(text: string): ReadonlyMap<string, unknown> {
  if (text.length > MAX_POLICY_CHARACTERS)
    throw new PolicyError(
      'ERR_POLICY_FORMAT',
      `the policy has ${text.length} characters; at most ${MAX_POLICY_CHARACTERS} are read`,
    )
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new PolicyError(
      'ERR_POLICY_FORMAT',
      `the policy is not JSON: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
  const object = TopLevel.safeParse(json)
  if (!object.success) throw new PolicyError('ERR_POLICY_FORMAT', 'the policy is not a JSON object')
  return new Map(Object.entries(object.data))
}

function permissionsOf(value: unknown): readonly (readonly [string, unknown])[] {
  const isEmpty = value === undefined || value === null || JSON.stringify(value).length === 2
  if (isEmpty) throw new PolicyError('ERR_POLICY_PERMISSIONS', 'missing permissions')
  const permissions = TopLevel.safeParse(value)
  if (!permissions.success)
    throw new PolicyError(
      'ERR_POLICY_PERMISSIONS',
      '/permissions: invalid permissions: must be an object of roles',
    )
  return Object.entries(permissions.data)
}

function readRole(value: unknown, place: string, warnings: string[]): RolePermissions {
  if (typeof value === 'string' || Array.isArray(value))
    return { everything: readControl(value, place, 'the whole role'), rights: new Map() }
  const mapping = TopLevel.safeParse(value)
  if (!mapping.success)
    throw new PolicyError(
      'ERR_POLICY_PERMISSIONS',
      `${place}: bad right config: must be an object of rights, a condition or a list of conditions`,
    )
  let everything: Control | undefined
  const categories = new Map<string, Control>()
  const rights = new Map<string, Control>()
  for (const [key, expression] of Object.entries(mapping.data)) {
    const right = normalize(key)
    const control = readControl(expression, `${place}/${key}`, right)
    if (right === '*') everything = control
    else if (commandsOf(right).length > 0) categories.set(right, control)
    else rights.set(right, control)
    if (right !== '*' && !KNOWN_RIGHTS.has(right))
      warnings.push(`${place}/${key}: no command checks this right; is it misspelt?`)
  }
  // A right's own control beats that of its category, wherever they stand in the file. `download_job` is both.
  const expanded = new Map<string, Control>()
  for (const [category, control] of categories)
    for (const right of [category, ...commandsOf(category)]) expanded.set(right, control)
  for (const [right, control] of rights) expanded.set(right, control)
  return { everything, rights: expanded }
}

function readControl(value: unknown, place: string, grantedBy: string): Control {
  const expressions: unknown[] = Array.isArray(value) ? value : [value]
  if (expressions.length === 0)
    throw new PolicyError(
      'ERR_POLICY_CONDITION',
      `${place}: bad condition expression - no conditions specified`,
    )
  const conditions = expressions.map((expression) => {
    if (typeof expression !== 'string')
      throw new PolicyError(
        'ERR_POLICY_CONDITION',
        `${place}: bad condition expression type: must be a text or a list of texts, but is ${JSON.stringify(expression)}`,
      )
    return parseCondition(expression, place)
  })
  return { conditions, grantedBy }
}

function merged(earlier: RolePermissions | undefined, later: RolePermissions): RolePermissions {
  if (earlier === undefined) return later
  return {
    everything: later.everything ?? earlier.everything,
    rights: new Map([...earlier.rights, ...later.rights]),
  }
}
