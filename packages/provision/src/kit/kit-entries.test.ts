import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parsePolicy } from '@hanse/policy'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseProject } from '../project/parse-project.ts'
import type { AnyParticipant } from '../project/project.ts'
import { kitEntries } from './kit-entries.ts'

const run = promisify(execFile)
const stock = (path: string) =>
  JSON.parse(
    readFileSync(new URL(`../../../../vectors/kits/central/kits/${path}`, import.meta.url), 'utf8'),
  )

// The part of vectors/kits/central/project.yml that this version takes; it names no scheme.
const project = parseProject(`
api_version: 4
name: kit_reference
connection_security: mtls
participants:
  - name: fl-server.example.com
    type: server
    org: central_org
    fed_learn_port: 8102
    admin_port: 8103
    host_names: [localhost, 127.0.0.1, fl-int.example.com]
    default_host: localhost
  - {name: site-default, type: client, org: org_a}
  - name: site-ip
    type: client
    org: org_a
    connect_to: 127.0.0.1
    capacity: {num_of_gpus: 2, mem_per_gpu_in_GiB: 16}
  - name: site-tls
    type: client
    org: org_b
    connection_security: tls
    connect_to: {host: proxy.example.com, port: 443}
    allow_log_streaming: false
  - {name: admin@example.com, type: admin, org: central_org, role: project_admin}
  - {name: lead@example.org, type: admin, org: org_b, role: lead, connection_security: tls}
studies:
  cardiac-ct:
    site_orgs: {org_a: [site-default, site-ip], org_b: [site-tls]}
    admins: [lead@example.org, admin@example.com]
  pilot:
builders:
  - {path: nvflare.lighter.impl.static_file.StaticFileBuilder, args: {config_folder: config, require_signed_jobs: true}}
`)
const everybody: readonly AnyParticipant[] = [project.server, ...project.sites, ...project.admins]

function entriesOf(name: string) {
  return kitEntries(project, everybody.find((participant) => participant.name === name)!)
}
function json(name: string, path: string): Record<string, unknown> {
  return JSON.parse(entriesOf(name).get(path)!.content)
}

/** The stored file without what this version leaves out: relays' identities. */
function adapted(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, part) =>
    key === 'auth_identity_map' ? undefined : part,
  )
}

describe('kitEntries', () => {
  it.each([
    ['fl-server.example.com', 'startup/fed_server.json'],
    ['fl-server.example.com', 'local/study_registry.json'],
    ['fl-server.example.com', 'local/authorization.json.default'],
    ['fl-server.example.com', 'local/log_config.json.default'],
    ['site-default', 'startup/fed_client.json'],
    ['site-default', 'local/resources.json.default'],
    ['site-ip', 'startup/fed_client.json'],
    ['site-ip', 'local/resources.json.default'],
    ['site-tls', 'startup/fed_client.json'],
    ['admin@example.com', 'startup/fed_admin.json'],
    ['admin@example.com', 'local/resources.json.default'],
    ['lead@example.org', 'startup/fed_admin.json'],
  ])('writes for %s the same %s as stock', (name, path) => {
    expect(json(name, path)).toEqual(adapted(stock(`${name}/${path}`)))
  })

  it('keeps an explicit false, which stock loses', () => {
    expect(json('site-tls', 'local/resources.json.default')).toMatchObject({
      allow_log_streaming: false,
    })
  })

  it('differs from stock in the server resources where we mean to', () => {
    const path = 'local/resources.json.default'
    const { servers, snapshot_persistor, components, ...ours } = json('fl-server.example.com', path)
    const theirs = stock(`fl-server.example.com/${path}`)
    expect(ours).toEqual({
      format_version: 2,
      class_list_enforcement_mode: 'enforce',
      class_allow_list: theirs.class_allow_list,
    })
    expect(servers).toEqual([
      {
        admin_storage: 'transfer',
        max_num_clients: 100,
        heart_beat_timeout: 30,
        dead_client_grace_period: 15,
        admin_timeout: 10,
      },
    ])
    const ids = (list: unknown) =>
      (list as { id: string; path: string }[]).map(({ id, path }) => [id, path])
    expect(ids(components)).toEqual(ids(theirs.components))
    expect(JSON.stringify([snapshot_persistor, components])).not.toContain('/tmp')
  })

  it('ships a policy that the policy package reads without warnings', () => {
    const { content } = entriesOf('site-default').get('local/authorization.json.default')!
    expect(parsePolicy(content).warnings).toEqual([])
  })
})

describe('the scripts of a kit', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hanse scripts-'))
    for (const name of ['site-default', 'lead@example.org']) {
      for (const [path, { content, mode }] of entriesOf(name)) {
        const full = join(folder, name, path)
        await mkdir(join(full, '..'), { recursive: true })
        await writeFile(full, content, { mode })
      }
    }
    // Programs that say how they were called.
    for (const name of ['hanse', 'python3']) {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, name), `#!/bin/sh\necho ${name} "$@"\n`)
      await chmod(join(folder, name, name), 0o755)
    }
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const start = (
    script: string,
    runtime: string | undefined,
    programs: string[],
    ...args: string[]
  ) =>
    run('/bin/bash', [join(folder, script), ...args], {
      env: {
        PATH: [...programs.map((name) => join(folder, name)), '/usr/bin', '/bin'].join(':'),
        ...(runtime === undefined ? {} : { HANSE_RUNTIME: runtime }),
      },
    }).then(({ stdout }) => stdout.trim())

  it('start Hanse where it is installed, else the stock package', async () => {
    const script = 'site-default/startup/start.sh'
    const kit = join(folder, 'site-default')
    expect(await start(script, undefined, ['hanse', 'python3'])).toBe(`hanse start ${kit}`)
    const stockCall = `python3 -u -m nvflare.private.fed.app.client.client_train -m ${kit} -s fed_client.json --set secure_train=true uid=site-default org=org_a config_folder=config`
    expect(await start(script, undefined, ['python3'], '--once')).toBe(stockCall)
    expect(await start(script, 'stock', ['hanse', 'python3'], '--once')).toBe(stockCall)
  })

  it('open the console', async () => {
    const script = 'lead@example.org/startup/fl_admin.sh'
    const kit = join(folder, 'lead@example.org')
    expect(await start(script, 'hanse', ['hanse'], '--x')).toBe(`hanse status --as ${kit} --x`)
    expect(await start(script, 'stock', ['python3'])).toBe(
      `python3 -m nvflare.fuel.hci.tools.admin -m ${kit} -s fed_admin.json`,
    )
  })

  it('refuse other runtimes', async () => {
    await expect(start('site-default/startup/start.sh', 'podman', ['hanse'])).rejects.toThrow(
      /HANSE_RUNTIME is 'podman'/,
    )
  })

  it('do not stop what does not run', async () => {
    await expect(start('site-default/startup/stop_fl.sh', undefined, [], '-y')).rejects.toThrow(
      /Nothing runs on the stock package here/,
    )
  })
})
