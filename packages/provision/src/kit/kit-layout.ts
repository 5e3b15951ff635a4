/** Names inside a kit that more than one module needs (`spec/provision.md` §3). */
export const KitFile = {
  fedServer: 'startup/fed_server.json',
  fedClient: 'startup/fed_client.json',
  fedAdmin: 'startup/fed_admin.json',
  fedRelay: 'startup/fed_relay.json',
  root: 'startup/rootCA.pem',
  customRoot: 'startup/customRootCA.pem',
  serverCertificate: 'startup/server.crt',
  serverKey: 'startup/server.key',
  clientCertificate: 'startup/client.crt',
  clientKey: 'startup/client.key',
  manifest: 'startup/hanse_manifest.json',
  manifestSignature: 'startup/hanse_manifest.sig',
  resources: 'local/resources.json',
  authorization: 'local/authorization.json',
  privacy: 'local/privacy.json',
  hanse: 'local/hanse.json',
  datasets: 'local/datasets.json',
} as const

/** One file of a kit before it is written. */
export interface KitEntry {
  readonly content: string
  /** Unix mode; keys 0o600, scripts 0o755, everything else 0o644. */
  readonly mode: number
}

/** Files of a kit by path, with `/` between folders. */
export type KitEntries = ReadonlyMap<string, KitEntry>

export function textEntry(content: string): KitEntry {
  return { content, mode: 0o644 }
}

export function scriptEntry(content: string): KitEntry {
  return { content, mode: 0o755 }
}

export function secretEntry(content: string): KitEntry {
  return { content, mode: 0o600 }
}

export function jsonEntry(value: unknown): KitEntry {
  return textEntry(`${JSON.stringify(value, null, 2)}\n`)
}
