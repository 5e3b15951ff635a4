import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadKit } from './load-kit.ts'

const vectors = fileURLToPath(new URL('../../../../vectors/kits/', import.meta.url))
const now = Date.parse('2026-12-01T00:00:00Z')
interface StoredSet {
  readonly kits: Readonly<Record<string, { dir: string; keys: Readonly<Record<string, string>> }>>
}
const manifest: { sets: { central: StoredSet; distributed: StoredSet } } = JSON.parse(
  readFileSync(join(vectors, 'manifest.json'), 'utf8'),
)
const stored = [manifest.sets.central, manifest.sets.distributed].flatMap(({ kits }) =>
  Object.entries(kits).map(([name, kit]) => ({ name, ...kit })),
)
const loadable = stored.filter(({ name }) => !name.startsWith('relay'))

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-stock-kits-'))
  for (const { name, dir, keys } of stored) {
    await cp(join(vectors, dir), join(folder, name), { recursive: true })
    for (const [path, source] of Object.entries(keys))
      await cp(join(vectors, source), join(folder, name, path))
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const STOCK = 'a stock kit: it has no signed manifest, so changes to its files are not noticed'

describe('loadKit on stock kits', () => {
  it.each(loadable)('loads $name, with a warning', async ({ name }) => {
    const kit = await loadKit(join(folder, name), { now })
    expect(kit.name).toBe(name)
    expect(kit.warnings).toContain(STOCK)
  })

  it('reads addresses, security and settings', async () => {
    expect(await loadKit(join(folder, 'fl-server.example.com'), { now })).toMatchObject({
      type: 'server',
      project: 'kit_reference',
      listen: { port: 8102, adminPort: 8103 },
      server: { identity: 'fl-server.example.com', scheme: 'http', connectionSecurity: 'mtls' },
      settings: {
        requireSignedJobs: true,
        heartbeatTimeoutSeconds: 600,
        deadClientGraceSeconds: 60,
        maxJobs: 4,
        componentPolicy: { mode: 'enforce' },
      },
    })
    expect(await loadKit(join(folder, 'site-tls'), { now })).toMatchObject({
      type: 'site',
      server: {
        identity: 'fl-server.example.com',
        host: 'proxy.example.com',
        port: 443,
        connectionSecurity: 'tls',
        customRootPem: expect.stringContaining('BEGIN CERTIFICATE'),
      },
    })
    expect(await loadKit(join(folder, 'site-ip'), { now })).toMatchObject({
      settings: { gpus: 2, gpuMemoryGib: 16, reservationSeconds: 300 },
    })
    expect(await loadKit(join(folder, 'lead@example.org'), { now })).toMatchObject({
      type: 'admin',
      role: 'lead',
      identity: { organization: 'org_b' },
      server: { host: 'localhost', port: 8103, connectionSecurity: 'tls' },
    })
  })

  it('says that relays are not in this version', async () => {
    await expect(loadKit(join(folder, 'relay-1'), { now })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KIT_TYPE', message: expect.stringContaining('relay') }),
    )
  })

  it('refuses an expired kit and a folder that is no kit', async () => {
    await expect(
      loadKit(join(folder, 'site-ip'), { now: Date.parse('2027-11-18T00:00:00Z') }),
    ).rejects.toThrow(expect.objectContaining({ code: 'ERR_CERT_EXPIRED' }))
    await expect(loadKit(folder, { now })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KIT_TYPE' }),
    )
    await expect(loadKit(join(folder, 'nowhere'), { now })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KIT_TYPE' }),
    )
  })

  it('throws only errors of its own, whatever a file holds', async () => {
    const kit = join(folder, 'site-ip')
    const files = [
      'startup/fed_client.json',
      'startup/client.crt',
      'startup/client.key',
      'startup/rootCA.pem',
      'local/resources.json.default',
      'local/authorization.json.default',
    ]
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.json().map((text) => new TextEncoder().encode(text)),
          fc.tuple(fc.nat(2000), fc.nat(255)),
        ),
        async (path, change) => {
          const before = await readFile(join(kit, path))
          const after = Uint8Array.from(before)
          if (!(change instanceof Uint8Array)) after[change[0] % after.length] = change[1]
          await writeFile(join(kit, path), change instanceof Uint8Array ? change : after)
          try {
            await loadKit(kit, { now })
          } catch (error) {
            expect(error).toMatchObject({ name: expect.stringMatching(/^(Provision|Pki)Error$/) })
          } finally {
            await writeFile(join(kit, path), before)
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})
