import { type JsonObject, type JsonValue, silentLogger } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { RunContext } from '../components/run-context.ts'
import { buildClientApp, buildServerApp, checkApp } from './build-app.ts'
import { clientComponent, commonComponent, createCatalogue, serverComponent } from './catalogue.ts'
import { standardComponents } from './standard-components.ts'

const made: string[] = []
const flow = (path: string, aliases: readonly string[] = []) =>
  serverComponent({
    path,
    aliases,
    kind: 'workflow',
    args: z.strictObject({
      n: z.int().default(1),
      helper: z.unknown().optional(),
      data: z.unknown().optional(),
    }),
    create(args) {
      made.push(path)
      return { ...args, run: async () => {} }
    },
  })
const catalogue = createCatalogue([
  flow('stock.flows.Flow', ['hanse.Flow']),
  flow('stock.flows.Same'),
  flow('stock.other.Same'),
  commonComponent({
    path: 'stock.Helper',
    kind: 'widget',
    args: z.strictObject({ inner: z.unknown().optional() }),
    create(args) {
      made.push('Helper')
      return { isHelper: true, ...args }
    },
  }),
  commonComponent({
    path: 'stock.Filter',
    kind: 'filter',
    args: z.strictObject({}),
    create: () => ({ process: (m: unknown) => m }),
  }),
  clientComponent({
    path: 'stock.Executor',
    kind: 'executor',
    args: z.strictObject({ mode: z.enum(['a', 'b']) }),
    create: (args, site) => ({ ...args, site: site.siteName, execute: async () => {} }),
  }),
])
const context = { log: silentLogger } as RunContext // no component here uses more
const server = (workflow: JsonValue, rest: JsonObject = {}): JsonObject => ({
  format_version: 2,
  workflows: [workflow],
  ...rest,
})
const build = (config: JsonObject) =>
  buildServerApp(config, { catalogue, createContext: () => context })
const site = { siteName: 'site-1', jobId: 'j', log: silentLogger }

describe('buildServerApp', () => {
  it.each([{ path: 'stock.flows.Flow' }, { class_path: 'hanse.Flow' }, { name: 'Flow' }])(
    'finds a component by %j, and names it after its class',
    (reference) => {
      const { workflows, components } = build(server({ ...reference, args: { n: 7 } }))
      expect(workflows).toEqual([{ id: 'Flow', workflow: expect.objectContaining({ n: 7 }) }])
      expect(components.get('Flow')).toBe(workflows[0]?.workflow)
    },
  )

  it('makes components in the order of the document, those in arguments before', () => {
    made.length = 0
    build({
      components: [{ id: 'h', path: 'stock.Helper' }],
      format_version: 2,
      workflows: [
        {
          path: 'stock.flows.Flow',
          args: { helper: { path: 'stock.Helper', args: { inner: { name: 'Helper' } } } },
        },
      ],
    })
    expect(made).toEqual(['Helper', 'Helper', 'Helper', 'stock.flows.Flow'])
  })

  it('leaves as data what is no component or says so, and what lies deeper', () => {
    const data = [{ path: 'stock.Helper' }, { name: 'alice' }]
    for (const value of [
      { path: 'stock.Helper', config_type: 'dict' },
      { name: 'not a class' },
      data,
    ]) {
      const { workflows } = build(server({ name: 'Flow', args: { data: value as JsonValue } }))
      expect(workflows[0]?.workflow).toMatchObject({ data: value })
    }
  })

  it('skips what is disabled, also in arguments', () => {
    const { components, workflows } = build(
      server(
        { name: 'Flow', args: { helper: { path: 'stock.Helper', disabled: true } } },
        { components: [{ id: 'x', path: 'nobody.Has', disabled: true }] },
      ),
    )
    expect([...components.keys()]).toEqual(['Flow'])
    expect(workflows[0]?.workflow).toMatchObject({ helper: null })
    expect(() => build(server({ name: 'Flow', disabled: true }))).toThrow(
      /all workflows are disabled/,
    )
  })

  it('takes class_attributes as the arguments', () => {
    const { workflows } = build(
      server({ name: 'Flow', args: { junk: 1, class_attributes: { n: 4 } } }),
    )
    expect(workflows[0]?.workflow).toMatchObject({ n: 4 })
  })

  it('uses the usual direction of filters at a server', async () => {
    const { filters } = build(
      server(
        { name: 'Flow' },
        {
          task_data_filters: [{ tasks: ['train'], filters: [{ path: 'stock.Filter' }] }],
          task_result_filters: [{ tasks: ['train'], filters: [{ path: 'stock.Filter' }] }],
        },
      ),
    )
    expect(() =>
      filters.add('data', { tasks: ['train'], direction: 'in', filters: [] }),
    ).not.toThrow()
    expect(() => filters.add('data', { tasks: ['train'], direction: 'out', filters: [] })).toThrow(
      /two chains/,
    )
    expect(() => filters.add('result', { tasks: ['train'], direction: 'in', filters: [] })).toThrow(
      /two chains/,
    )
  })

  it.each<[string, JsonObject, string, RegExp]>([
    [
      'an unknown component',
      server({ path: 'nobody.Has' }),
      'ERR_COMPONENT_UNKNOWN',
      /workflows\[0\].*"nobody\.Has"/,
    ],
    [
      'an unknown one in arguments',
      server({ name: 'Flow', args: { helper: { path: 'nobody.Has' } } }),
      'ERR_COMPONENT_UNKNOWN',
      /workflows\[0\]\.args\.helper/,
    ],
    ['a name with two meanings', server({ name: 'Same' }), 'ERR_COMPONENT_AMBIGUOUS', /full path/],
    [
      'a name with two meanings in stock',
      server({ name: 'NPTrainer' }),
      'ERR_COMPONENT_AMBIGUOUS',
      /full path/,
    ],
    [
      'a component of sites',
      server({ path: 'stock.Executor' }),
      'ERR_COMPONENT_SIDE',
      /works at a client/,
    ],
    [
      'a component of another kind',
      server({ path: 'stock.Helper' }),
      'ERR_COMPONENT_SIDE',
      /is a widget/,
    ],
    [
      'an unknown argument',
      server({ name: 'Flow', args: { wrong: 1 } }),
      'ERR_COMPONENT_ARGS',
      /wrong/,
    ],
    ['a path without a dot', server({ path: 'Flow' }), 'ERR_APP_CONFIG', /no dotted path/],
    [
      'an empty path beside a name',
      server({ path: '', name: 'Flow' }),
      'ERR_APP_CONFIG',
      /no dotted path/,
    ],
    ['no reference', server({ args: {} }), 'ERR_APP_CONFIG', /none of/],
    ['arguments that are a list', server({ name: 'Flow', args: [] }), 'ERR_APP_CONFIG', /args/],
    [
      'two components of one id',
      server({ id: 'a', name: 'Flow' }, { components: [{ id: 'a', path: 'stock.Helper' }] }),
      'ERR_APP_CONFIG',
      /used twice/,
    ],
    [
      'a component without id',
      server({ name: 'Flow' }, { components: [{ path: 'stock.Helper' }] }),
      'ERR_APP_CONFIG',
      /no id/,
    ],
    [
      'another version',
      { ...server({ name: 'Flow' }), format_version: 3 },
      'ERR_APP_CONFIG',
      /format_version/,
    ],
    ['no workflows', { format_version: 2, workflows: [] }, 'ERR_APP_CONFIG', /at least one/],
    [
      'a chain without filters',
      server({ name: 'Flow' }, { task_data_filters: [{ tasks: ['t'], filters: [] }] }),
      'ERR_APP_CONFIG',
      /filters/,
    ],
    [
      'a chain with a wrong direction',
      server(
        { name: 'Flow' },
        {
          task_data_filters: [
            { tasks: ['t'], filters: [{ path: 'stock.Filter' }], direction: 'up' },
          ],
        },
      ),
      'ERR_APP_CONFIG',
      /direction/,
    ],
    [
      'a name of JavaScript',
      server({ name: 'constructor' }),
      'ERR_COMPONENT_UNKNOWN',
      /constructor/,
    ],
  ])('refuses %s', (_, config, code, message) => {
    expect(() => build(config)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
    expect(checkApp(config, 'server', catalogue).map((problem) => problem.code)).toEqual(
      // Ids are only known when all is made.
      /used twice|no id/.test(message.source) ? [] : [code],
    )
  })
})

describe('checkApp', () => {
  it('names everything that is wrong, each once, without making anything', () => {
    made.length = 0
    const problems = checkApp(
      server(
        { name: 'Flow', args: { helper: { path: 'nobody.A' } } },
        {
          components: [
            { id: 'x', path: 'nobody.B' },
            { id: 'y', path: 'stock.Helper', args: { bad: 1 } },
          ],
          task_result_filters: [
            { tasks: ['t'], filters: [{ path: 'nobody.C' }, { path: 'stock.Filter' }] },
          ],
        },
      ),
      'server',
      catalogue,
    )
    expect(problems.map(({ where, code }) => [where, code])).toEqual([
      ['workflows[0].args.helper', 'ERR_COMPONENT_UNKNOWN'],
      ['components[0]', 'ERR_COMPONENT_UNKNOWN'],
      ['components[1]', 'ERR_COMPONENT_ARGS'],
      ['task_result_filters[0].filters[0]', 'ERR_COMPONENT_UNKNOWN'],
    ])
    expect(made).toEqual([])
  })
})

describe('buildClientApp', () => {
  it('makes executors for tasks and patterns', () => {
    const app = buildClientApp(
      {
        format_version: 2,
        executors: [
          { tasks: ['*'], executor: { path: 'stock.Executor', args: { mode: 'a' } } },
          { tasks: ['train', 'sw*'], executor: { path: 'stock.Executor', args: { mode: 'b' } } },
        ],
      },
      { catalogue, site },
    )
    expect(app.executors.find('train')).toMatchObject({ mode: 'b', site: 'site-1' })
    expect(app.executors.find('swarm')).toMatchObject({ mode: 'a' })
  })

  it('refuses two executors for one task', () => {
    const one = { tasks: ['train'], executor: { path: 'stock.Executor', args: { mode: 'a' } } }
    expect(() =>
      buildClientApp({ format_version: 2, executors: [one, one] }, { catalogue, site }),
    ).toThrow(/two executors/)
  })
})

describe('the standard components', () => {
  const standard = createCatalogue(standardComponents())

  it('have unique names and usual arguments', () => {
    for (const entry of standard.entries) {
      expect(standard.find(entry.path)).toBe(entry)
      // All but those with an argument that must be given.
      if (
        !/ClientAPIExecutor|ConvertWeights|ExcludeVars|DXOBlocker|ConvertToFedEvent|CollectAndAssemble|FedAvgLR|GlobalModelEval|StatisticsController|JsonStatsFileWriter/.test(
          entry.path,
        )
      )
        expect(entry.args.safeParse({}).error).toBeUndefined()
      expect(entry.args.safeParse({ no_such_argument: 1 }).success).toBe(false)
    }
    expect(() => createCatalogue([...standard.entries, standard.entries[0]!])).toThrow(
      /two components/,
    )
  })

  const argsOf = (name: string, args: JsonObject): string | undefined => {
    const entry = standard.findByName(name)
    if (entry === undefined || entry === 'ambiguous') throw new Error(`no ${name}`)
    const parsed = entry.args.safeParse(args)
    return parsed.success ? undefined : parsed.error.message
  }

  it.each<[string, JsonObject, RegExp]>([
    ['FedAvg', { exclude_vars: '(' }, /no regular expression/],
    ['FedAvg', { aggregation_weights: { 'site-1': -1 } }, />=0/],
    ['FedAvg', { aggregator: {} }, /aggregates models/],
    ['FedAvg', { save_filename: '../escape' }, /without folders/],
    ['NPModelPersistor', { model_name: '../../x.npy' }, /without folders/],
    ['NPModelPersistor', { model_dir: '/etc' }, /relative folder/],
    ['NPModelPersistor', { model_dir: 'a/../../b' }, /relative folder/],
    ['MetricsArtifactWriter', { results_dir: '..' }, /relative folder/],
    ['ExcludeVars', { exclude_vars: ['a', 1] }, /./],
    ['ExcludeVars', {}, /./],
    ['PercentilePrivacy', { gamma: 0 }, /./],
    ['PercentilePrivacy', { percentile: 101 }, /./],
    ['DXOBlocker', { data_kinds: [] }, /./],
    [
      'InTimeAccumulateWeightedAggregator',
      { expected_data_kind: { a: 'WEIGHTS' } },
      /collections are not supported/,
    ],
    ['ClientAPIExecutor', { execution_mode: 'in_process' }, /task_script_path/],
    [
      'ClientAPIExecutor',
      { execution_mode: 'in_process', task_script_path: 'run.sh' },
      /must end in/,
    ],
    [
      'ClientAPIExecutor',
      { execution_mode: 'in_process', task_script_path: 'a.py', command: 'x' },
      /belongs to mode external_process/,
    ],
    ['ClientAPIExecutor', { execution_mode: 'external_process' }, /command/],
    ['ClientAPIExecutor', { execution_mode: 'attach', heartbeat_timeout: 0 }, /more than 0/],
  ])('%s refuses %j', (name, args, message) => {
    expect(argsOf(name, args)).toMatch(message)
  })

  it.each<[string, JsonObject]>([
    [
      'FedAvg',
      {
        num_clients: 2,
        stop_cond: null,
        model: null,
        aggregation_weights: {},
        patience: null,
        exclude_vars: null,
      },
    ],
    [
      'NPModelPersistor',
      {
        model: [
          [1, 2],
          [3, 4],
        ],
      },
    ],
    [
      'ClientAPIExecutor',
      {
        execution_mode: 'in_process',
        task_script_path: 'client.py',
        command: null,
        launch_once: true,
        launch_timeout: 300.0,
        stop_grace_period: 30,
      },
    ],
    [
      'ClientAPIExecutor',
      {
        execution_mode: 'external_process',
        command: ['python3', '-u', 'custom/x.py'],
        shutdown_timeout: 0,
        task_script_args: '',
      },
    ],
    ['ClientAPIExecutor', { execution_mode: 'attach', attach_id: 'x' }],
  ])('%s takes %j', (name, args) => {
    expect(argsOf(name, args)).toBeUndefined()
  })

  it('cannot run a trainer where nobody handed in how', () => {
    expect(() =>
      buildClientApp(
        {
          format_version: 2,
          executors: [
            {
              tasks: ['*'],
              executor: {
                name: 'ClientAPIExecutor',
                args: { execution_mode: 'in_process', task_script_path: 'a.py' },
              },
            },
          ],
        },
        { catalogue: standard, site },
      ),
    ).toThrow(expect.objectContaining({ code: 'ERR_COMPONENT_MISSING' }))
  })
})
