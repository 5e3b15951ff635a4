/** What certificates of sites and servers carry where people have a role (`spec/provision.md` §7). */
const KINDS: ReadonlySet<string> = new Set(['client', 'server', 'relay', 'site'])

/** The role of the person that a certificate was issued to; empty for those of sites, servers and relays. */
export function personRole({ role = '' }: { readonly role?: string | undefined }): string {
  return KINDS.has(role.toLowerCase()) ? '' : role
}
