import type { AuditLog } from '@hanse/audit'
import type { Cell } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import { createFrameKeyShare, loginSigner, loginVerifier, signToken, tokenMac } from '@hanse/pki'
import type { ServerKit } from '@hanse/provision'
import { serveRegistration } from '@hanse/session'
import type { ExternalCells } from '../external-cells/external-cells.ts'
import type { RevocationService } from '../revocation/revocation-service.ts'
import type { SiteBook } from '../sites/site-book.ts'
import type { SiteRegistry } from '../sites/site-registry.ts'
import { loginEvent, type RecordRefusal } from './link-events.ts'
import { linkObjection } from './link-requirements.ts'

export interface RegistrationComponents {
  readonly cell: Cell
  readonly kit: ServerKit
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: AuditLog
  readonly recordRefusal: RecordRefusal
  readonly sites: SiteRegistry
  readonly book: SiteBook
  readonly revocations: RevocationService
  readonly externalCells: ExternalCells
  /** Name and version, told to members. */
  readonly software: string
}

/** Lets members log in: sites into the table, people as they come. */
export function registerMembers({
  cell,
  kit,
  clock,
  logger,
  audit,
  recordRefusal,
  sites,
  book,
  revocations,
  externalCells,
  software,
}: RegistrationComponents): void {
  const { key } = kit.identity
  serveRegistration(
    cell,
    {
      signer: loginSigner(kit.identity),
      verifier: loginVerifier(kit.identity, clock),
      mac: tokenMac(key),
      clock,
      createKeyShare: createFrameKeyShare,
      signToken: (name, token) => signToken(key, name, token),
      refusal: (applicant) => {
        const { kind, identity, renews, link } = applicant
        if (kind === 'relay') return 'relays are not in this version'
        const objection =
          revocations.objection(identity.name) ?? linkObjection(link, kit.hanse.require)
        if (objection !== undefined) return objection
        if (kind === 'external')
          return sites.barred(identity.name) ?? externalCells.refusal(applicant)
        if (kind !== 'site') return undefined
        return sites.refusal(identity.name) ?? (renews && sites.objection(renews))
      },
      onRegistered(applicant, claims) {
        if (applicant.kind === 'external') externalCells.entered(claims)
        if (applicant.kind === 'site') {
          const { software, siteConfig, identity } = applicant
          const { name, organization, fingerprint } = identity
          const enter = applicant.renews === undefined ? 'register' : 'renew'
          sites[enter]({ claims, organization, software, siteConfig })
          book
            .remember({ name, fingerprint, organization, software, siteConfig })
            .catch((error: unknown) => logger.warn('a site is not remembered', { name, error }))
        }
        audit
          .append(loginEvent(applicant))
          .catch((error: unknown) =>
            logger.error('login not recorded', { name: applicant.identity.name, error }),
          )
      },
      onRefused: ({ name, cell: origin, reason }) =>
        recordRefusal({
          actor: { name: name === '' ? origin : name },
          act: 'login',
          outcome: 'refused',
          code: 'unauthenticated',
          text: reason,
        }),
    },
    {
      project: kit.project,
      software,
      challengeLifetimeMs: kit.settings.maxRegistrationSeconds * 1000,
    },
  )
}
