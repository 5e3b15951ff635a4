import { type Clock, hasCode, messageOf } from '@hanse/contract'
import { type Kit, loadKit } from '@hanse/provision/kit'
import type { Fault, FaultCode } from './fault.ts'

/** The kit, or what is wrong with it: nothing else can be checked then. */
export async function checkKit(
  directory: string,
  clock: Clock,
): Promise<{ readonly kit: Kit } | { readonly fault: Fault }> {
  try {
    return { kit: await loadKit(directory, { now: clock.now() }) }
  } catch (error) {
    const seen = messageOf(error)
    const known = KIT_FAULTS.find(({ errors }) => errors.some((code) => hasCode(error, code)))
    if (known === undefined)
      return {
        fault: {
          code: 'kit-unusable',
          what: `${directory} cannot be used as a startup kit`,
          seen,
          expected: 'the folder of one participant, as hanse provision made it',
          fix: 'name the folder that has startup/ and local/ in it',
        },
      }
    const { code, what, expected, fix } = known
    const now = new Date(clock.now()).toISOString()
    return {
      fault: {
        code,
        what,
        seen: code === 'clock-skew' ? `${seen}; the clock here says ${now}` : seen,
        expected,
        fix,
      },
    }
  }
}

const KIT_FAULTS: readonly (Omit<Fault, 'seen' | 'code'> & {
  readonly code: FaultCode
  readonly errors: readonly string[]
})[] = [
  {
    errors: ['ERR_KIT_FILE', 'ERR_KIT_MANIFEST_MISSING'],
    code: 'kit-incomplete',
    what: 'a file of the kit is missing or cannot be read',
    expected: 'every file that the project admin handed over',
    fix: 'unpack the kit again; files in local/ must be valid JSON',
  },
  {
    errors: ['ERR_KIT_INTEGRITY', 'ERR_KIT_MANIFEST'],
    code: 'kit-changed',
    what: 'a signed file of the kit was changed',
    expected: 'the files of startup/ exactly as the project admin signed them',
    fix: 'unpack the kit again; what a participant may change is in local/',
  },
  {
    errors: ['ERR_KIT_KEY_MODE'],
    code: 'kit-exposed',
    what: 'others than its owner may read the private key',
    expected: 'mode 0600',
    fix: 'chmod 600 the key file, and ask for a new kit if others could have read it',
  },
  {
    errors: ['ERR_KEY_MISMATCH'],
    code: 'key-mismatch',
    what: 'the private key belongs to another certificate',
    expected: 'key and certificate of one kit',
    fix: 'unpack the kit again; do not mix files of two kits',
  },
  {
    errors: ['ERR_CERT_OTHER_CA', 'ERR_CERT_SIGNATURE', 'ERR_CERT_NOT_CA'],
    code: 'own-certificate-untrusted',
    what: 'the certificate of the kit was not issued by the root in the kit',
    expected: 'startup/rootCA.pem of the same league',
    fix: 'unpack the kit again; do not mix files of two leagues',
  },
  {
    errors: ['ERR_CERT_EXPIRED'],
    code: 'own-certificate-expired',
    what: 'the certificate of the kit has expired',
    expected: 'a certificate that is valid today',
    fix: 'ask the project admin for a new kit; if the date here is wrong, set the clock',
  },
  {
    errors: ['ERR_CERT_NOT_YET_VALID'],
    code: 'clock-skew',
    what: 'the certificate of the kit is not valid yet, so the clock here is probably slow',
    expected: 'a clock that is right to the minute',
    fix: 'set the clock of this machine, best by NTP',
  },
]
