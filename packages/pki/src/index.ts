export {
  type Certificate,
  type ExtendedKeyUsage,
  type KeyUsage,
  parseCertificate,
  parseCertificates,
} from './certificate.ts'
export { formatFingerprint, sha256Hex } from './fingerprint.ts'
export { createFrameKeyShare, type FrameKeyOptions, type FrameKeyShare } from './frame-proofs.ts'
export {
  type Identity,
  type IdentityTexts,
  type LoadIdentityOptions,
  loadIdentity,
} from './identity.ts'
export {
  issueLeaf,
  issueRoot,
  type LeafProfile,
  type LeafRequest,
  MAX_NAME_CHARACTERS,
  type RootRequest,
  type SubjectName,
} from './issue-certificate.ts'
export type { KitMark, ParticipantType } from './kit-mark.ts'
export {
  type LoginClaim,
  type LoginSigner,
  loginSigner,
  loginVerifier,
  type ProvenHolder,
  tokenMac,
} from './login-proofs.ts'
export { createMessageCipher, type MessageCipherOptions } from './message-cipher.ts'
export { personRole } from './person-role.ts'
export { PkiError, type PkiErrorCode } from './pki-error.ts'
export { generatePrivateKey, PrivateKey, parsePrivateKey } from './private-key.ts'
export {
  type SignedData,
  signText,
  signToken,
  verifySignature,
  verifyText,
  verifyToken,
} from './signature.ts'
export { type ChainRequirements, MAX_CHAIN_LENGTH, verifyChain } from './verify-chain.ts'
