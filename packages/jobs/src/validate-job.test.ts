import { readdirSync, readFileSync } from 'node:fs'
import { memberOf } from '@hanse/archive'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contentHash } from './content-hash.ts'
import { JobFiles } from './job-files.ts'
import { readJobFolder } from './job-folder.ts'
import { type ValidateJobOptions, validateJob } from './validate-job.ts'

const vectors = new URL('../../../vectors/jobs/', import.meta.url)
const names = readdirSync(vectors, { withFileTypes: true })
  .filter((item) => item.isDirectory() && item.name !== 'expected')
  .map(({ name }) => name)

const vector = (name: string) => readJobFolder(new URL(name, vectors).pathname)

const everything = { has: () => true }

type Texts = Record<string, string>

/** A small job that passes; `change` alters its files. */
function job(change: (files: Texts) => Texts | undefined = () => undefined): JobFiles {
  const files: Texts = {
    'hello/meta.json': JSON.stringify({ name: 'hello', deploy_map: { app: ['@ALL'] } }),
    'hello/app/config/config_fed_server.json': JSON.stringify({
      format_version: 2,
      workflows: [{ id: 'controller', path: 'a.FedAvg', args: {} }],
    }),
    'hello/app/config/config_fed_client.json': JSON.stringify({
      format_version: 2,
      executors: [{ tasks: ['train'], executor: { path: 'a.Trainer' } }],
    }),
  }
  const changed = change(files) ?? files
  return new JobFiles(
    Object.entries(changed).map(([path, text]) => memberOf(path, new TextEncoder().encode(text))),
  )
}

const withMeta = (meta: object) =>
  job((files) => ({ ...files, 'hello/meta.json': JSON.stringify(meta) }))

const withServer = (config: object, extra: Texts = {}) =>
  job((files) => ({
    ...files,
    'hello/app/config/config_fed_server.json': JSON.stringify({
      format_version: 2,
      workflows: [{ path: 'a.FedAvg' }],
      ...config,
    }),
    ...extra,
  }))

const withClient = (config: object, extra: Texts = {}) =>
  job((files) => ({
    ...files,
    'hello/app/config/config_fed_client.json': JSON.stringify({
      format_version: 2,
      executors: [{ tasks: ['train'], executor: { path: 'a.Trainer' } }],
      ...config,
    }),
    ...extra,
  }))

async function problemsOf(files: JobFiles, options: ValidateJobOptions = {}): Promise<string[]> {
  const result = await validateJob(files, options)
  return result.ok ? [] : result.problems.map(({ place, code }) => `${code} ${place}`)
}

describe('validateJob', () => {
  it.each(names)('accepts the stock job %s', async (name) => {
    const result = await validateJob(await vector(name), { catalogue: everything })
    expect(result.ok ? [] : result.problems).toEqual([])
    const stockMeta = JSON.parse(readFileSync(new URL(`${name}/meta.json`, vectors), 'utf8'))
    const hasCode = readdirSync(new URL(name, vectors), { recursive: true, encoding: 'utf8' }).some(
      (path) => path.endsWith('/custom'),
    )
    expect(result.ok && result.job).toMatchObject({
      folder: name,
      name: stockMeta.name,
      byoc: hasCode,
      minClients: stockMeta.min_clients ?? 1,
    })
  })

  it('names every component that is not there, on its side', async () => {
    const catalogue = {
      has: (path: string, side: string) => path.startsWith('nvflare.') && side === 'server',
    }
    const result = await validateJob(await vector('numpy-fedavg-custom-aggregator'), { catalogue })
    expect(result.ok || result.problems).toEqual([
      {
        place: 'app/config/config_fed_server.json#/workflows/0/args/aggregator/path',
        code: 'component-unknown',
        message: expect.stringContaining('"median_aggregator.MedianAggregator" is Python code'),
      },
      {
        place: 'app/config/config_fed_client.json#/executors/0/executor/path',
        code: 'component-unknown',
        message: expect.stringContaining('ClientAPIExecutor'),
      },
      {
        place: 'app/config/config_fed_client.json#/components/0/path',
        code: 'component-unknown',
        message: expect.stringContaining('ConvertToFedEvent'),
      },
    ])
  })

  it('tells the catalogue whether a class is Python code of the job', async () => {
    const own: string[] = []
    const catalogue = {
      has(path: string, _: string, isOwnCode: boolean) {
        if (isOwnCode) own.push(path)
        return true
      },
    }
    await validateJob(await vector('numpy-fedavg-custom-aggregator'), { catalogue })
    await validateJob(await vector('fed-statistics'), { catalogue })
    expect(new Set(own)).toEqual(
      new Set(['median_aggregator.MedianAggregator', 'local_stats.ListStatistics']),
    )
  })

  it('names an unknown component of a .conf file too', async () => {
    const files = job(({ 'hello/app/config/config_fed_server.json': _, ...files }) => ({
      ...files,
      'hello/app/config/config_fed_server.conf': `
        format_version = 2
        workflows = [ { id = c, path = a.FedAvg, args { aggregator { path = b.Evil } } } ]
        task_data_filters = [ { tasks = [train], filters = [ { path = "c.Filter" } ] } ]`,
    }))
    const catalogue = { has: (path: string) => path.startsWith('a.') }
    expect(await problemsOf(files, { catalogue })).toEqual([
      'component-unknown app/config/config_fed_server.conf#/workflows/0/args/aggregator/path',
      'component-unknown app/config/config_fed_server.conf#/task_data_filters/0/filters/0/path',
    ])
    expect(await problemsOf(files, { catalogue: everything })).toEqual([])
  })

  it.each([
    ['conf', 'include "x"', 'include'],
    ['yml', 'format_version: 2', 'YAML'],
    ['yaml', 'format_version: 2', 'YAML'],
    ['json', '{"format_version": 2,}', 'not JSON'],
    ['json', '[]', 'not an object'],
    ['json', `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`, 'levels'],
  ])('refuses a .%s that it cannot read, with the reason', async (extension, text, reason) => {
    const files = job(({ 'hello/app/config/config_fed_server.json': _, ...files }) => ({
      ...files,
      [`hello/app/config/config_fed_server.${extension}`]: text,
    }))
    const result = await validateJob(files)
    expect(result.ok || result.problems).toEqual([
      {
        place: `app/config/config_fed_server.${extension}`,
        code: 'config-format',
        message: expect.stringContaining(reason),
      },
    ])
  })

  it('reports everything at once', async () => {
    const files = job((files) => ({
      ...files,
      'hello/meta.json': JSON.stringify({
        deploy_map: { app: ['server'], '-b': ['site-1', 'site-1'], c: [] },
        min_clients: 5,
        mandatory_clients: ['site-9', 7],
        resource_spec: { 'site-1': { num_of_gpus: -1, memory: '2GB' } },
        launcher_spec: { 'site-1': { ship: {} } },
        scope: 3,
      }),
    }))
    expect(await problemsOf(files)).toEqual([
      'meta-invalid meta.json#/mandatory_clients/1',
      'meta-invalid meta.json#/scope',
      'deploy-map meta.json#/deploy_map/-b',
      'deploy-map meta.json#/deploy_map/c',
      'deploy-map meta.json#/deploy_map/-b',
      'resource-spec meta.json#/resource_spec/site-1/num_of_gpus',
      'resource-spec meta.json#/resource_spec/site-1/memory',
      'launcher-spec meta.json#/launcher_spec/site-1/ship',
    ])
  })

  it.each<[string, object, string]>([
    ['no deploy_map', { name: 'x' }, 'deploy-map meta.json#/deploy_map'],
    ['an empty one', { deploy_map: {} }, 'deploy-map meta.json#/deploy_map'],
    [
      '@ALL beside others',
      { deploy_map: { app: ['@ALL', 'site-1'] } },
      'deploy-map meta.json#/deploy_map',
    ],
    ['no server', { deploy_map: { app: ['site-1'] } }, 'deploy-map meta.json#/deploy_map'],
    [
      'a bad site name',
      { deploy_map: { app: ['server', 'a/b'] } },
      'deploy-map meta.json#/deploy_map/app/1',
    ],
    [
      'an odd key',
      { deploy_map: { app: [{ sites: ['server'], x: 1 }] } },
      'deploy-map meta.json#/deploy_map/app/0/x',
    ],
    [
      'too many needed',
      { deploy_map: { app: ['server', 'a'] }, min_clients: 2 },
      'min-clients meta.json#/min_clients',
    ],
    [
      'none needed',
      { deploy_map: { app: ['@ALL'] }, min_clients: 0 },
      'min-clients meta.json#/min_clients',
    ],
    [
      'a boolean',
      { deploy_map: { app: ['@ALL'] }, min_clients: true },
      'meta-invalid meta.json#/min_clients',
    ],
    [
      'a mandatory stranger',
      { deploy_map: { app: ['server', 'a'] }, mandatory_clients: ['b'] },
      'mandatory-clients meta.json#/mandatory_clients/0',
    ],
    [
      'a bad id',
      { deploy_map: { app: ['@ALL'] }, job_id: '../x' },
      'meta-invalid meta.json#/job_id',
    ],
    [
      'a wide default',
      { deploy_map: { app: ['@ALL'] }, resource_spec: { '@default': { x: 1 } } },
      'resource-spec meta.json#/resource_spec/@default/x',
    ],
    [
      'a boolean number',
      { deploy_map: { app: ['@ALL'] }, resource_spec: { a: { num_of_gpus: true } } },
      'resource-spec meta.json#/resource_spec/a/num_of_gpus',
    ],
    [
      'a docker volume',
      { deploy_map: { app: ['@ALL'] }, launcher_spec: { a: { docker: { volumes: ['/'] } } } },
      'launcher-spec meta.json#/launcher_spec/a/docker/volumes',
    ],
    [
      'GPUs twice',
      {
        deploy_map: { app: ['@ALL'] },
        resource_spec: { a: { num_of_gpus: 1 } },
        launcher_spec: { a: { docker: { num_of_gpus: 1 } } },
      },
      'launcher-spec meta.json#/launcher_spec/a/docker/num_of_gpus',
    ],
  ])('refuses metadata with %s', async (_, meta, problem) => {
    expect(await problemsOf(withMeta(meta))).toContain(problem)
  })

  it.each<[string, object, string]>([
    ['another version', { format_version: 1 }, '/format_version'],
    ['no workflow', { workflows: [] }, '/workflows'],
    ['a workflow that is no object', { workflows: ['x'] }, '/workflows/0'],
    ['a component without id', { components: [{ path: 'a.B' }] }, '/components/0/id'],
    [
      'ids twice',
      {
        components: [
          { id: 'x', path: 'a.B' },
          { id: 'x', path: 'a.B' },
        ],
      },
      '/components/1/id',
    ],
    [
      'the id of a workflow',
      { workflows: [{ id: 'x', path: 'a.B' }], components: [{ id: 'x', path: 'a.B' }] },
      '/components/0/id',
    ],
    [
      'the default id of a workflow',
      { components: [{ id: 'FedAvg', path: 'a.B' }] },
      '/components/0/id',
    ],
    ['no class', { components: [{ id: 'x' }] }, '/components/0'],
    [
      'arguments in a list',
      { components: [{ id: 'x', path: 'a.B', args: [] }] },
      '/components/0/args',
    ],
    ['a timeout of 0', { server: { heart_beat_timeout: 0 } }, '/server/heart_beat_timeout'],
    [
      'a direction',
      { task_data_filters: [{ tasks: ['t'], filters: [], direction: 'up' }] },
      '/task_data_filters/0/direction',
    ],
    ['no tasks', { task_result_filters: [{ filters: [] }] }, '/task_result_filters/0/tasks'],
    [
      'two chains',
      {
        task_data_filters: [
          { tasks: ['t'], filters: [], direction: 'inout' },
          { tasks: ['t'], filters: [] },
        ],
      },
      '/task_data_filters/1',
    ],
  ])('refuses a server config with %s', async (_, config, pointer) => {
    expect(await problemsOf(withServer(config))).toEqual([
      `config-invalid app/config/config_fed_server.json#${pointer}`,
    ])
  })

  it('looks at components as stock builds them', async () => {
    const seen: string[] = []
    const catalogue = {
      has: (path: string) => {
        seen.push(path)
        return true
      },
    }
    await validateJob(
      withServer({
        my_path: 'a.FromVariable',
        workflows: [
          {
            path: 'a.W',
            class_path: 'not.Looked',
            args: {
              model: { path: 'a.Nested', args: { deeper: { class_path: 'a.Deeper' } } },
              plain: { path: 'no.Plain', config_type: 'dict' },
              list: [{ path: 'no.InList' }],
              data: { name: 'some text' },
              named: { name: 'ByName', config_type: 'component' },
            },
          },
          { path: 'no.Disabled', disabled: true },
        ],
        components: [
          { id: 'v', path: '{my_path}' },
          { id: 'c', path: 'a.C', args: { class_attributes: { x: { path: 'a.Attribute' } } } },
        ],
      }),
      { catalogue },
    )
    expect(seen).toEqual([
      ...['a.W', 'a.Nested', 'a.Deeper', 'ByName', 'a.FromVariable', 'a.C', 'a.Attribute'],
      'a.Trainer',
    ])
  })

  const clientApi = (args: object) => ({
    executors: [
      {
        tasks: ['*'],
        executor: {
          path: 'nvflare.app_common.executors.client_api_executor.ClientAPIExecutor',
          args,
        },
      },
    ],
  })
  const script = { 'hello/app/custom/train.py': '' }

  it.each<[string, object, string[]]>([
    [
      'an external script',
      { execution_mode: 'external_process', command: ['python3', 'custom/train.py'] },
      [],
    ],
    ['an in-process script', { execution_mode: 'in_process', task_script_path: 'train.py' }, []],
    [
      'one with its folder',
      { execution_mode: 'in_process', task_script_path: 'custom/train.py' },
      [],
    ],
    ['a shell', { execution_mode: 'external_process', command: 'sh custom/train.py' }, ['command']],
    ['no command', { execution_mode: 'external_process' }, ['command']],
    [
      'a missing script',
      { execution_mode: 'in_process', task_script_path: 'x.py' },
      ['task_script_path'],
    ],
    [
      'a climbing script',
      { execution_mode: 'in_process', task_script_path: '../x.py' },
      ['task_script_path'],
    ],
    [
      'an absolute script',
      { execution_mode: 'in_process', task_script_path: '/x.py' },
      ['task_script_path'],
    ],
  ])('checks the trainer: %s', async (_, args, keys) => {
    expect(await problemsOf(withClient(clientApi(args), script))).toEqual(
      keys.map(
        (key) => `command app/config/config_fed_client.json#/executors/0/executor/args/${key}`,
      ),
    )
  })

  it('takes the runtimes of a site into account', async () => {
    const files = withClient(
      clientApi({ execution_mode: 'external_process', command: 'python3 custom/train.py' }),
      script,
    )
    expect(await problemsOf(files, { runtimes: new Set(['node']) })).toHaveLength(1)
    expect(await problemsOf(files, { runtimes: new Set(['python3']) })).toEqual([])
  })

  it.each<[unknown, string[]]>([
    [['adult', 'icu-2024.v1'], []],
    [[], []],
    ['adult', ['/datasets']],
    [['/data'], ['/datasets/0']],
    [
      ['a', '../x', 'a', 3],
      ['/datasets/1', '/datasets/2', '/datasets/3'],
    ],
  ])('checks the data sets %j', async (datasets, pointers) => {
    expect(await problemsOf(withClient({ datasets }))).toEqual(
      pointers.map((pointer) => `datasets app/config/config_fed_client.json#${pointer}`),
    )
  })

  it('refuses what is no job', async () => {
    expect(await problemsOf(new JobFiles([]))).toEqual(['layout '])
    const two = new JobFiles([
      memberOf('a/meta.json', new Uint8Array()),
      memberOf('b/x', new Uint8Array()),
    ])
    expect(await problemsOf(two)).toEqual(['layout '])
    const flat = new JobFiles([memberOf('meta.json', new Uint8Array())])
    expect(await problemsOf(flat)).toEqual(['layout '])
    expect(await problemsOf(new JobFiles([memberOf('a/x', new Uint8Array())]))).toEqual([
      'meta-missing meta.json',
    ])
  })

  it('wants the configs of the sides an app goes to, and the config folder', async () => {
    const files = withMeta({ deploy_map: { app: ['server'], other: ['site-1'] } })
    expect(await problemsOf(files)).toEqual(['config-missing other/config'])
    const serverOnly = job(({ 'hello/app/config/config_fed_client.json': _, ...rest }) => rest)
    expect(await problemsOf(serverOnly)).toEqual([
      'config-missing app/config/config_fed_client.json',
    ])
  })

  it('does not believe what only a server may say', async () => {
    const result = await validateJob(
      withMeta({
        deploy_map: { app: ['@ALL'] },
        byoc: true,
        status: 'FINISHED:COMPLETED',
        submitter_role: 'project_admin',
        submit_token: 'x',
        extra: 1,
      }),
    )
    expect(result.ok && result.job.byoc).toBe(false)
    expect(result.ok && result.job.meta).toEqual({ deploy_map: { app: ['@ALL'] }, extra: 1 })
  })

  it('never throws, whatever stands in the files', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ maxDepth: 5 }),
        fc.constantFrom('meta', 'app/config/config_fed_server', 'app/config/config_fed_client'),
        fc.constantFrom(
          '',
          'deploy_map',
          'workflows',
          'executors',
          'components',
          'resource_spec',
          'launcher_spec',
          'task_data_filters',
        ),
        async (value, name, key) => {
          const path = `hello/${name}.json`
          const files = job((texts) => ({
            ...texts,
            [path]: JSON.stringify(
              key === '' ? value : { ...JSON.parse(texts[path] ?? '{}'), [key]: value },
            ),
          }))
          const result = await validateJob(files, { catalogue: { has: () => false } })
          if (!result.ok) expect(result.problems.length).toBeGreaterThan(0)
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('contentHash', () => {
  it('is what a stock server computes for the archive of a vector', async () => {
    // Recorded from nvflare 2.9.0 on the archive of this folder.
    expect(await contentHash((await vector('numpy-per-site')).below('numpy-per-site'))).toBe(
      'sha256:11d368efcf2d0bdbcfa4fcd4a2b7adba5f8e1de9ebc61eaa53ce802b38cc9c8d',
    )
  })

  it('is that of the documented octets, without signatures and whatever the order', async () => {
    const files = [
      memberOf('b', new TextEncoder().encode('2')),
      memberOf('a/.__nvfl_sig.json', new TextEncoder().encode('x')),
      memberOf('a/é', new TextEncoder().encode('one')),
    ]
    // sha256 of 00…04 "a/é" 00…03 "one" 00…01 "b" 00…01 "2", computed outside this program.
    const expected = 'sha256:b40a27c13476842061da79cb3b025433c30a988439fb314381205cd399a12e8b'
    expect(await contentHash(new JobFiles(files))).toBe(expected)
    expect(await contentHash(new JobFiles(files.toReversed()))).toBe(expected)
  })
})

describe('readJobFolder', () => {
  it('makes a job of a bare app, as stock does', async () => {
    const files = await readJobFolder(new URL('numpy-fedavg/app', vectors).pathname)
    const result = await validateJob(files)
    expect(result.ok && result.job.meta).toEqual({
      name: 'app',
      job_folder_name: 'app',
      resource_spec: {},
      deploy_map: { app: ['@ALL'] },
      min_clients: 1,
    })
  })

  it('adds the folder name to metadata that has none', async () => {
    const files = await readJobFolder(new URL('numpy-fedavg', vectors).pathname, 'other-name')
    const meta = JSON.parse(await files.readText('other-name/meta.json', 9999))
    expect(meta).toMatchObject({ name: 'numpy-fedavg', job_folder_name: 'other-name' })
  })

  it('refuses a name that no server takes', async () => {
    const path = new URL('numpy-fedavg', vectors).pathname
    await expect(readJobFolder(path, 'a b')).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_JOB_LAYOUT' }),
    )
  })
})
