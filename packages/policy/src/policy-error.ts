import { PlatformError } from '@hanse/contract'

export type PolicyErrorCode =
  /** Not JSON, too long, or not an object. */
  | 'ERR_POLICY_FORMAT'
  /** `format_version` is not the string "1.0". */
  | 'ERR_POLICY_VERSION'
  /** `permissions` is absent, empty or of the wrong shape. */
  | 'ERR_POLICY_PERMISSIONS'
  /** A condition that the grammar does not know (`spec/policies.md` §1.1). */
  | 'ERR_POLICY_CONDITION'

/** An authorization file was refused; the message says where and why. */
export class PolicyError extends PlatformError<PolicyErrorCode> {}
