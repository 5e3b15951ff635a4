export {
  CATEGORIES,
  type Category,
  categoryOf,
  commandsOf,
  KNOWN_RIGHTS,
} from './command-category.ts'
export { allowsComponent, isListedComponent } from './component-list.ts'
export type { Condition, Test } from './condition.ts'
export {
  type AccessRequest,
  type Decision,
  type DenialCode,
  decide,
  type Evidence,
  type Person,
} from './decide.ts'
export { parsePolicy, readPolicy } from './parse-policy.ts'
export { type Control, MISSING_POLICY, type Policy, type RolePermissions } from './policy.ts'
export { PolicyError, type PolicyErrorCode } from './policy-error.ts'
