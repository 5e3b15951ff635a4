import type { JsonObject, JsonValue } from '@hanse/contract'
import type { ComponentCatalogue, Side } from './component-catalogue.ts'
import type { ConfigFile } from './config-file.ts'
import { isJsonObject, memberOfObject } from './json-object.ts'
import { DATASET_NAME, quoted } from './names.ts'
import { type ProblemList, pointerTo } from './problem.ts'
import { checkTrainerCommand, problemOfScript } from './trainer-command.ts'

export interface AppConfigContext {
  readonly side: Side
  readonly config: ConfigFile
  /** Paths of the app's files, relative to the app. */
  readonly files: { has(path: string): boolean }
  readonly catalogue?: ComponentCatalogue | undefined
  readonly runtimes?: ReadonlySet<string> | undefined
  readonly problems: ProblemList
}

/** Checks one `config_fed_server` or `config_fed_client` (`spec/jobs.md` §3); reports everything it finds. */
export function checkAppConfig(context: AppConfigContext): void {
  new AppConfigChecker(context).check()
}

/** Names under `"datasets"` of a client config: what the job wants the site to let its trainer see. */
export function datasetsOf(clientConfig: JsonObject): readonly string[] {
  const names = memberOfObject(clientConfig, 'datasets')
  return Array.isArray(names) ? names.filter((name: JsonValue) => typeof name === 'string') : []
}

class AppConfigChecker {
  readonly #context: AppConfigContext
  readonly #ids = new Map<string, string>()

  constructor(context: AppConfigContext) {
    this.#context = context
  }

  check(): void {
    const { config, side } = this.#context
    const content = config.content
    if (content['format_version'] !== 2)
      this.#fail(
        '/format_version',
        `must be the number 2, not ${quoted(content['format_version'])}`,
      )
    if (side === 'server') this.#checkServer(content)
    else this.#checkClient(content)
    this.#eachObject(content, 'components', 0, (item, place) => {
      if (typeof item['id'] !== 'string' || item['id'] === '')
        this.#fail(pointerTo(place, 'id'), 'every component needs an id')
      else this.#claimId(item['id'], place)
      this.#component(item, place)
    })
    for (const key of ['task_data_filters', 'task_result_filters'] as const)
      this.#filters(content, key)
  }

  #checkServer(content: JsonObject): void {
    const server = memberOfObject(content, 'server')
    for (const key of ['heart_beat_timeout', 'task_request_interval'])
      this.#positive(memberOfObject(server, key), `/server/${key}`)
    this.#eachObject(content, 'workflows', 1, (item, place) => {
      const id = item['id']
      if (id !== undefined && typeof id !== 'string')
        this.#fail(pointerTo(place, 'id'), 'the id must be a text')
      const simpleName = classOf(item)?.path.split('.').at(-1)
      const claimed = typeof id === 'string' ? id : simpleName
      if (claimed !== undefined) this.#claimId(claimed, place)
      this.#component(item, place)
    })
  }

  #checkClient(content: JsonObject): void {
    this.#positive(content['default_task_fetch_interval'], '/default_task_fetch_interval')
    this.#datasets(content['datasets'])
    const tasks = new Map<string, string>()
    let clientApiAt: string | undefined
    this.#eachObject(content, 'executors', 1, (item, place) => {
      for (const task of this.#tasks(item, place)) {
        const other = tasks.get(task)
        if (other !== undefined)
          this.#fail(pointerTo(place, 'tasks'), `the task ${quoted(task)} is also in ${other}`)
        tasks.set(task, place)
      }
      const executor = item['executor']
      const at = pointerTo(place, 'executor')
      if (!isJsonObject(executor)) {
        this.#fail(at, 'an executor is needed: {"path": …, "args": …}')
        return
      }
      this.#component(executor, at)
      if (executor['disabled'] === true || !isClientApiExecutor(executor)) return
      if (clientApiAt !== undefined)
        this.#fail(at, `an app can have one Client API executor; ${clientApiAt} is one already`)
      clientApiAt ??= at
      this.#trainer(executor['args'], pointerTo(at, 'args'))
    })
  }

  /** The script of a trainer, and the command that runs it. */
  #trainer(args: JsonValue | undefined, place: string): void {
    const { files, runtimes, problems, config } = this.#context
    const mode = memberOfObject(args, 'execution_mode')
    const command = memberOfObject(args, 'command')
    const script = memberOfObject(args, 'task_script_path')
    const fail = (key: string, reason: string) =>
      problems.add(`${config.path}#${pointerTo(place, key)}`, 'command', reason)
    if (mode === 'external_process' || (mode === undefined && command !== undefined)) {
      const check = checkTrainerCommand(command, { runtimes, files })
      if (!check.ok) fail('command', check.reason)
    } else if (mode === 'in_process' && script !== undefined) {
      // Stock looks for it in custom/; a path that begins there is meant from the app's folder.
      const path = String(script)
      const reason = problemOfScript(path.startsWith('custom/') ? path : `custom/${path}`, files)
      if (typeof script !== 'string' || reason !== undefined)
        fail('task_script_path', reason ?? 'must be a text')
    }
  }

  #datasets(names: JsonValue | undefined): void {
    if (names === undefined) return
    const { problems, config } = this.#context
    const fail = (place: string, message: string) =>
      problems.add(`${config.path}#${place}`, 'datasets', message)
    if (!Array.isArray(names)) {
      fail('/datasets', 'must be a list of names')
      return
    }
    for (const [index, name] of names.entries())
      if (typeof name !== 'string' || !DATASET_NAME.test(name))
        fail(
          `/datasets/${index}`,
          `${quoted(name)} is not a name of a data set (${DATASET_NAME.source}); sites map names to paths themselves`,
        )
      else if (names.indexOf(name) !== index) fail(`/datasets/${index}`, `${quoted(name)} is twice`)
  }

  #filters(content: JsonObject, key: 'task_data_filters' | 'task_result_filters'): void {
    const { side } = this.#context
    const natural = (key === 'task_data_filters') === (side === 'server') ? 'out' : 'in'
    const chains = new Map<string, string>()
    this.#eachObject(content, key, 0, (chain, place) => {
      const direction = String(chain['direction'] ?? natural).toLowerCase()
      if (!['in', 'out', 'inout'].includes(direction))
        this.#fail(pointerTo(place, 'direction'), 'must be "in", "out" or "inout"')
      for (const task of this.#tasks(chain, place))
        for (const way of direction === 'inout' ? ['in', 'out'] : [direction]) {
          const other = chains.get(`${way} ${task}`)
          if (other !== undefined)
            this.#fail(
              place,
              `the task ${quoted(task)} has a chain for "${way}" in ${other} already`,
            )
          chains.set(`${way} ${task}`, place)
        }
      this.#eachObject(chain, 'filters', 0, (filter, at) => this.#component(filter, at), place)
    })
  }

  #tasks(item: JsonObject, place: string): readonly string[] {
    const tasks = item['tasks']
    if (
      Array.isArray(tasks) &&
      tasks.length > 0 &&
      tasks.every((task: JsonValue) => typeof task === 'string' && task !== '')
    )
      return tasks
    this.#fail(pointerTo(place, 'tasks'), 'must be a list of task names')
    return []
  }

  /** A component and those that its arguments build; stock builds direct members of `args` only. */
  #component(item: JsonObject, place: string): void {
    if (item['disabled'] === true) return
    const reference = classOf(item)
    if (reference === undefined) {
      this.#fail(place, 'a component needs a "path", "class_path" or "name"')
      return
    }
    this.#known(reference, pointerTo(place, reference.key))
    const args = item['args']
    if (args !== undefined && !isJsonObject(args))
      this.#fail(pointerTo(place, 'args'), 'the arguments must be an object')
    const attributes = memberOfObject(args, 'class_attributes')
    const at = pointerTo(place, 'args')
    this.#nested(
      isJsonObject(attributes) ? attributes : args,
      attributes === undefined ? at : pointerTo(at, 'class_attributes'),
    )
  }

  #nested(args: JsonValue | undefined, place: string): void {
    if (!isJsonObject(args)) return
    for (const [key, value] of Object.entries(args))
      if (isJsonObject(value) && isNestedComponent(value))
        this.#component(value, pointerTo(place, key))
  }

  #known({ key, path: written }: ClassReference, place: string): void {
    const { catalogue, side, problems, config } = this.#context
    const path = this.#substituted(written)
    if (path === '' || (key !== 'name' && !path.includes('.') && !path.includes('/'))) {
      problems.add(
        `${config.path}#${place}`,
        'component-invalid',
        `${quoted(path)} is not a class path; it must have a dot`,
      )
      return
    }
    const module = `custom/${path.split('.').slice(0, -1).join('/')}`
    const { files } = this.#context
    const isOwnCode = files.has(`${module}.py`) || files.has(`${module}/__init__.py`)
    if (catalogue === undefined || catalogue.has(path, side, isOwnCode)) return
    problems.add(
      `${config.path}#${place}`,
      'component-unknown',
      isOwnCode
        ? `the component ${quoted(path)} is Python code that came with the job; code of a job runs in trainers only: leave it out where there is a usual one, such as the weighted mean of an aggregator, or name a component of the catalogue`
        : `there is no component ${quoted(path)} for a ${side} here; is it misspelt, or does it need a plug-in?`,
    )
  }

  /** A path may be a variable of the file: `"{my_path}"`. */
  #substituted(path: string): string {
    const name = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(path)?.[1]
    const value =
      name === undefined ? undefined : memberOfObject(this.#context.config.content, name)
    return typeof value === 'string' ? value : path
  }

  #claimId(id: string, place: string): void {
    const other = this.#ids.get(id)
    if (other !== undefined)
      this.#fail(pointerTo(place, 'id'), `the id ${quoted(id)} is that of ${other} already`)
    this.#ids.set(id, place)
  }

  #positive(value: JsonValue | undefined, place: string): void {
    if (value !== undefined && !(typeof value === 'number' && value > 0))
      this.#fail(place, `must be a number greater than 0, not ${quoted(value)}`)
  }

  #eachObject(
    parent: JsonObject,
    key: string,
    least: number,
    visit: (item: JsonObject, place: string) => void,
    parentPlace = '',
  ): void {
    const list = memberOfObject(parent, key)
    const place = pointerTo(parentPlace, key)
    if (list === undefined && least === 0) return
    if (!Array.isArray(list)) {
      this.#fail(place, `must be a list of objects${least > 0 ? ', at least one' : ''}`)
      return
    }
    if (list.length < least) this.#fail(place, `at least ${least} is needed`)
    for (const [index, item] of list.entries()) {
      const at = pointerTo(place, index)
      if (isJsonObject(item)) visit(item, at)
      else this.#fail(at, `must be an object, not ${quoted(item)}`)
    }
  }

  #fail(place: string, message: string): void {
    const { config, problems } = this.#context
    problems.add(`${config.path}#${place}`, 'config-invalid', message)
  }
}

interface ClassReference {
  readonly key: 'path' | 'class_path' | 'name'
  readonly path: string
}

/** The class reference that counts: the first key that is there, whatever its value (`spec/jobs.md` §3.5). */
function classOf(item: JsonObject): ClassReference | undefined {
  for (const key of ['path', 'class_path', 'name'] as const)
    if (Object.hasOwn(item, key)) {
      const path = item[key]
      return { key, path: typeof path === 'string' ? path : '' }
    }
  return undefined
}

/** Arguments with a class reference are components unless they say that they are plain objects. */
function isNestedComponent(value: JsonObject): boolean {
  const type = value['config_type']
  if (type !== undefined && type !== 'component') return false
  const reference = classOf(value)
  return (
    reference !== undefined &&
    reference.path !== '' &&
    (reference.key !== 'name' || type !== undefined)
  )
}

function isClientApiExecutor(executor: JsonObject): boolean {
  const name = classOf(executor)?.path.split(/[./]/).at(-1) ?? ''
  const args = executor['args']
  return (
    /client_?api_?executor$/i.test(name) ||
    memberOfObject(args, 'command') !== undefined ||
    memberOfObject(args, 'task_script_path') !== undefined
  )
}
