import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { ProvisionError } from '../provision-error.ts'
import { parseProject } from './parse-project.ts'

const BASE = `api_version: 3
name: league
participants:
  - name: hub
    type: server
    org: center
  - name: site-1
    type: client
    org: org_a
`

/** One character too long. */
const LONG_HOST = `${'a'.repeat(63)}.`.repeat(4).replace(/\.$/, 'a')

describe('parseProject', () => {
  it('fills in what the file leaves out', () => {
    expect(parseProject(BASE)).toEqual({
      apiVersion: 3,
      name: 'league',
      description: '',
      scheme: 'http',
      rootValidDays: 360,
      requireSignedJobs: undefined,
      server: {
        type: 'server',
        name: 'hub',
        org: 'center',
        connectionSecurity: 'mtls',
        customCaCert: undefined,
        port: 8002,
        adminPort: 8002,
        defaultHost: 'hub',
        hostNames: [],
      },
      sites: [
        {
          type: 'site',
          name: 'site-1',
          org: 'org_a',
          connectionSecurity: 'mtls',
          customCaCert: undefined,
          connectTo: { host: 'hub', port: 8002 },
          allowLogStreaming: true,
          gpus: 0,
          gpuMemoryGib: 0,
        },
      ],
      admins: [],
      studies: undefined,
      warnings: [],
    })
  })

  it.each([
    ['of the builder', ', args: {scheme: tcp}', 'tcp'],
    ['of the builder, whatever it is', ', args: {scheme: grpc}', 'grpc'],
    ["of stock's builder without one", ', args: {config_folder: config}', 'http'],
    ["of stock's builder without arguments", '', 'http'],
  ])('takes the scheme %s', (_name, args, scheme) => {
    const builder = `{path: nvflare.lighter.impl.static_file.StaticFileBuilder${args}}`
    expect(parseProject(`${BASE}builders:\n  - ${builder}\n`).scheme).toBe(scheme)
  })

  it('lets a participant override the project, also with false', () => {
    const text = `connection_security: TLS\nallow_log_streaming: true\n${BASE}    connection_security: clear\n    allow_log_streaming: false\n`
    const { server, sites } = parseProject(text)
    expect(server.connectionSecurity).toBe('tls')
    expect(sites[0]).toMatchObject({ connectionSecurity: 'clear', allowLogStreaming: false })
  })

  it('warns about proxies and unusual roles, and takes them', () => {
    const text = `${BASE}    connect_to: {host: proxy.example.com, port: 443}
  - {name: a@b.org, type: admin, org: o, role: observer}
`
    expect(parseProject(text)).toMatchObject({
      sites: [{ connectTo: { host: 'proxy.example.com', port: 443 } }],
      warnings: [expect.stringContaining('proxy.example.com'), expect.stringContaining('observer')],
    })
  })

  const append = (more: string) => `${BASE}${more}\n`
  it.each([
    ['no server', BASE.replace('type: server', 'type: client'), /one participant of type server/],
    ['two servers', append('  - {name: hub2, type: server, org: o}'), /a second server/],
    [
      'a name twice, case aside',
      append('  - {name: SITE-1, type: client, org: o}'),
      /"SITE-1".*"site-1" was used before/,
    ],
    [
      'a relay',
      append('  - {name: r, type: relay, org: o}'),
      /"relay".*relays are not in this version/,
    ],
    [
      'a misspelt key',
      append('    conect_to: x'),
      /line 10: participants\[1\]\.conect_to: this key is unknown; is "connect_to" meant\?/,
    ],
    [
      'a key of stock',
      append('    listening_host: x'),
      /listening_host: this key is not allowed here; listening sites/,
    ],
    [
      'a missing org',
      BASE.replace('    org: org_a\n', ''),
      /line 7: participants\[1\]\.org: is missing/,
    ],
    [
      'a dash in an org',
      BASE.replace('org_a', 'org-a'),
      /line 9: participants\[1\]\.org: saw "org-a"; letters, digits and _/,
    ],
    ['a name with a newline', BASE.replace('site-1', '"site-1\\n"'), /saw "site-1\\n"/],
    ['a path as name', BASE.replace('site-1', '../evil'), /saw "\.\.\/evil"/],
    ['a path as project name', BASE.replace('league', '../league'), /name: saw "\.\.\/league"/],
    ['a reserved name', BASE.replace('site-1', 'server'), /reserved/],
    [
      'a port as text',
      append('').replace('org: center', 'org: center\n    fed_learn_port: "8002"'),
      /fed_learn_port: saw "8002"/,
    ],
    [
      'a port out of range',
      append('').replace('org: center', 'org: center\n    fed_learn_port: 99999'),
      /fed_learn_port: saw 99999/,
    ],
    ['true as port', append('    connect_to: {port: true}'), /saw true|connect_to/],
    ['a long host', append(`    connect_to: ${LONG_HOST}`), /connect_to.*at most 255 characters/],
    [
      'a long host in a mapping',
      append(`    connect_to: {host: ${LONG_HOST}}`),
      /connect_to.*at most 255 characters/,
    ],
    [
      'a long address of the server',
      BASE.replace('org: center', `org: center\n    host_names: [short, ${LONG_HOST}]`),
      /host_names.*at most 255 characters/,
    ],
    [
      'a long default address',
      BASE.replace('org: center', `org: center\n    default_host: ${LONG_HOST}`),
      /default_host.*at most 255 characters/,
    ],
    ['a long server name', BASE.replace('hub', 'h'.repeat(64)), /at most 63 characters/],
    ['an IPv6 host', BASE.replace('org: center', 'org: center\n    host_names: ["::1"]'), /"::1"/],
    [
      'the role super',
      append('  - {name: a@b.org, type: admin, org: o, role: Super}'),
      /override every site/,
    ],
    [
      'an admin without address',
      append('  - {name: bob, type: admin, org: o, role: lead}'),
      /saw "bob"; an e-mail/,
    ],
    [
      'an admin without role',
      append('  - {name: a@b.org, type: admin, org: o}'),
      /role: is missing/,
    ],
    [
      'another security',
      `connection_security: "MTLS "\n${BASE}`,
      /line 1: connection_security: saw "mtls "|saw "MTLS "/,
    ],
    ['a relay to connect to', append('    connect_to: {name: relay-1}'), /only the server "hub"/],
    ['studies in version 3', append('studies: {s: {}}'), /studies need api_version: 4/],
    [
      'version 2',
      BASE.replace('api_version: 3', 'api_version: 2'),
      /line 1: api_version: saw 2; 3 or 4/,
    ],
    ['no version', BASE.replace('api_version: 3\n', ''), /api_version: /],
    [
      'an include',
      append('include: other.yml'),
      /include: .*including other files is not in this version/,
    ],
    [
      'a scheme at the top',
      append('scheme: tcp'),
      /argument of nvflare\.lighter\.impl\.static_file/,
    ],
    [
      'a scheme of nobody',
      append(
        'builders:\n  - {path: nvflare.lighter.impl.static_file.StaticFileBuilder, args: {scheme: uds}}',
      ),
      /saw "uds"; http, grpc, tcp are in this version/,
    ],
    [
      'a foreign builder',
      append('builders:\n  - path: os.system'),
      /"os\.system"; this builder is not in this version/,
    ],
    [
      'an anchor bomb',
      `a: &a [${'x,'.repeat(50)}]\nb: [${'*a,'.repeat(500)}]\n${BASE}`,
      /cannot be read|not allowed/,
    ],
    ['a tag', append('description: !!python/object:os.system x'), /tag/i],
    ['a key twice', append('name: other'), /unique|duplicate/i],
    ['broken YAML', 'name: [', /line 1/],
    [
      'a bad validity',
      append(
        'builders:\n  - {path: nvflare.lighter.impl.cert.CertBuilder, args: {root_valid_days: 0}}',
      ),
      /root_valid_days: saw 0/,
    ],
    ['a list as key', append('? [a]\n: b'), /line 10/],
    ['a list', '- x', /./],
    ['nothing', '', /./],
  ])('refuses %s', (_what, text, message) => {
    expect(() => parseProject(text)).toThrow(
      expect.objectContaining({
        name: 'ProvisionError',
        code: 'ERR_PROJECT_FILE',
        message: expect.stringMatching(message),
      }),
    )
  })

  it('lists every problem at once', () => {
    const text = BASE.replace('org_a', 'org-a').replace('center', 'cen-ter')
    expect(() => parseProject(text, 'my.yml')).toThrow(
      /^my\.yml:\n {2}line 6: participants\[0\]\.org.*\n {2}line 9: participants\[1\]\.org/,
    )
  })

  it('reads studies of version 4 and checks who is in them', () => {
    const studies = (text: string) =>
      parseProject(
        `${BASE.replace('api_version: 3', 'api_version: 4')}  - {name: a@b.org, type: admin, org: o, role: lead}\nstudies:\n${text}`,
      )
    expect(
      studies('  s: {site_orgs: {org_a: [site-1]}, admins: [a@b.org, a@b.org]}\n  pilot:\n')
        .studies,
    ).toEqual(
      new Map([
        ['s', { siteOrgs: new Map([['org_a', ['site-1']]]), admins: ['a@b.org'] }],
        ['pilot', { siteOrgs: new Map(), admins: [] }],
      ]),
    )
    for (const [text, message] of [
      ['  s: {site_orgs: {org_b: [site-1]}}', /a client of org org_b/],
      ['  s: {site_orgs: {org_a: [site-1, site-1]}}', /named before/],
      ['  s: {admins: [nobody@b.org]}', /an admin of this project/],
      ['  s: {admins: {a@b.org: lead}}', /admins/],
      ['  s: {sites: [site-1]}', /site_orgs/],
      ['  default: {}', /reserved/],
      ['  S: {}', /studies/],
    ] as const)
      expect(() => studies(text)).toThrow(message)
  })

  it('never takes what stock refuses, and says why where it takes less', () => {
    const { cases }: { cases: StockCase[] } = JSON.parse(
      readFileSync(new URL('../../../../vectors/kits/project_cases.json', import.meta.url), 'utf8'),
    )
    const outcomes = cases.map(({ label, ok, api_version, participants, extra }) => {
      const text = stringify({ api_version, name: 'probe', participants, ...extra })
      try {
        parseProject(text)
        return [label, ok, true] as const
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_PROJECT_FILE' })
        return [label, ok, false] as const
      }
    })
    // The first is found when the file is read, the second's builder arguments are not in the vector.
    const elsewhere = ['missing custom ca', 'root days bad']
    expect(
      outcomes.filter(([label, stock, ours]) => !stock && ours && !elsewhere.includes(label)),
    ).toEqual([])
    expect(outcomes.filter(([, stock, ours]) => stock && ours).map(([label]) => label)).toContain(
      'default ports',
    )
  })

  it('throws only its own error, whatever the text', () => {
    const word = fc.constantFrom(
      ...'api_version: 3|name: x|participants:|  - |{|}|[|]|"|&a|*a|!!str|\n|: |#|type: server|org: o|null|---|<<: *a|\t|?'.split(
        '|',
      ),
    )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(word, { maxLength: 30 }).map((words) => words.join('')),
      fc.nat(BASE.length).map((at) => BASE.slice(0, at)),
      fc.json().map((json) => `${BASE}studies: ${json}`),
      fc.json(),
    )
    fc.assert(
      fc.property(text, (candidate) => {
        try {
          parseProject(candidate)
        } catch (error) {
          expect(error).toBeInstanceOf(ProvisionError)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('gives names back as they were, for every name that it takes', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,70}$/)
    fc.assert(
      fc.property(name, name, (site, org) => {
        const text = stringify({
          api_version: 3,
          name: 'league',
          participants: [
            { name: 'hub', type: 'server', org: 'o' },
            { name: site, type: 'client', org },
          ],
        })
        const allowed =
          /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(site) &&
          !['hub', 'server', 'server_job', 'super', 'default', 'admin', 'all', 'na'].includes(
            site.toLowerCase(),
          ) &&
          /^[A-Za-z0-9_]{1,64}$/.test(org)
        if (allowed) expect(parseProject(text).sites[0]).toMatchObject({ name: site, org })
        else expect(() => parseProject(text)).toThrow(ProvisionError)
      }),
    )
  })
})

interface StockCase {
  readonly label: string
  readonly ok: boolean
  readonly api_version: number
  readonly participants: unknown
  readonly extra: object
}
