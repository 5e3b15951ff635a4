/** Object identifiers of the parts of certificates that we read or write. */
export const Oid = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  /** Carries a person's role (`spec/provision.md` §4). */
  unstructuredName: '1.2.840.113549.1.9.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  anyExtendedKeyUsage: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha384WithRsa: '1.2.840.113549.1.1.12',
  sha512WithRsa: '1.2.840.113549.1.1.13',
  rsaPss: '1.2.840.113549.1.1.10',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  ed25519: '1.3.101.112',
  /**
   * Hanse's own extension: this certificate belongs to a kit with a signed manifest. The arc is a random UUID
   * (7b338e31-2775-4428-b221-d4d745aa2015) below 2.25, which needs no registry (ITU-T X.667).
   */
  hanseKit: '2.25.163762734617885291887929808132606926869.1',
} as const
