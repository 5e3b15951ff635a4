import { LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'
import type { Project } from './project.ts'
import { projectSchema } from './project-schema.ts'
import { resolveProject } from './resolve-project.ts'

/** No project file needs more; a bound for what is read into memory. */
export const MAX_PROJECT_CHARACTERS = 4_194_304

const MAX_PROBLEMS_SHOWN = 20

/**
 * Reads a project file, version 3 or 4 of stock's format, strictly: unknown keys are errors with a hint.
 * @param source names the text in errors, e.g. `project.yml`
 * @throws {ProvisionError} `ERR_PROJECT_FILE` that lists every problem with its line, what was seen and what is allowed
 */
export function parseProject(text: string, source = 'project.yml'): Project {
  if (text.length > MAX_PROJECT_CHARACTERS)
    throw new ProvisionError(
      'ERR_PROJECT_FILE',
      `${source} has ${text.length} characters; at most ${MAX_PROJECT_CHARACTERS} are read`,
    )
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    version: '1.2',
    prettyErrors: false,
    stringKeys: true,
  })
  const broken = [...document.errors, ...document.warnings].map(
    (problem) => `line ${lines.linePos(problem.pos[0]).line}: ${problem.message}`,
  )
  if (broken.length > 0) throw refused(source, broken)

  let data: unknown
  try {
    data = document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw new ProvisionError('ERR_PROJECT_FILE', `${source} cannot be read as YAML`, {}, { cause })
  }
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    for (let length = path.length; length > 0; length--) {
      const node: unknown = document.getIn(path.slice(0, length), true)
      if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range))
        return lines.linePos(Number(node.range[0])).line
    }
    return undefined
  }
  const at = (path: readonly PropertyKey[], what: string): string => {
    const line = lineOf(path)
    const place = formatPath(path)
    return [line === undefined ? undefined : `line ${line}`, place === '' ? undefined : place, what]
      .filter((part) => part !== undefined)
      .join(': ')
  }

  const parsed = projectSchema.safeParse(data, { reportInput: true })
  if (!parsed.success)
    throw refused(
      source,
      parsed.error.issues.flatMap((issue) =>
        explain(issue).map(({ path, what }) => at([...issue.path, ...path], what)),
      ),
    )
  const resolved = resolveProject(parsed.data)
  if ('problems' in resolved)
    throw refused(
      source,
      resolved.problems.map(({ path, what }) => at(path, what)),
    )
  return resolved.project
}

interface Explained {
  /** Below the issue's own path. */
  readonly path: readonly PropertyKey[]
  readonly what: string
}

function explain(issue: z.core.$ZodIssue): readonly Explained[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: [key], what: unknownKey(key) }))
  if (issue.code === 'invalid_union') {
    if (issue.discriminator === 'type') return [{ path: [], what: unknownType(issue.input) }]
    if (issue.discriminator === 'path') return [{ path: [], what: unknownBuilder(issue.input) }]
  }
  if (issue.code === 'invalid_type' && issue.input === undefined)
    return [
      { path: [], what: issue.message.startsWith('Invalid input') ? 'is missing' : issue.message },
    ]
  return [{ path: [], what: `saw ${seen(issue.input)}; ${issue.message}` }]
}

/** Keys that stock knows and this version does not, and keys people try. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['include', 'including other files is not in this version: put everything into one file'],
  ['packager', 'packagers are not in this version'],
  ['edge', 'the relay-tree generator is not in this version'],
  ['cc_config', 'confidential computing is not in this version'],
  ['listening_host', 'listening sites and relays are not in this version'],
  ['parent', 'hierarchies of sites are not in this version'],
  ['auth_identity', "other certificate names than the participant's are not in this version"],
  ['components', 'stock ignores it too: leave it out'],
  ['use_aio', 'Hanse needs no such switch: leave it out'],
  ['allow_error_sending', 'it is called allow_log_streaming now'],
  ['scheme', 'the scheme is an argument of nvflare.lighter.impl.static_file.StaticFileBuilder'],
  ['port', "the server's port is called fed_learn_port"],
  ['host', "a server's address is called default_host, others choose it with connect_to"],
  ['app_validator', 'validators from the project file are not in this version'],
  ['download_job_url', 'it is not used any more: leave it out'],
  ['sites', 'a study lists its sites below site_orgs: {org: [site, …]}'],
])

const KNOWN_KEYS = [
  'api_version',
  'name',
  'description',
  'participants',
  'builders',
  'studies',
  'connection_security',
  'custom_ca_cert',
  'allow_log_streaming',
  'type',
  'org',
  'role',
  'fed_learn_port',
  'admin_port',
  'host_names',
  'default_host',
  'connect_to',
  'capacity',
  'root_valid_days',
  'require_signed_jobs',
  'config_folder',
]

function unknownKey(key: string): string {
  const hint = HINTS.get(key)
  if (hint !== undefined) return `this key is not allowed here; ${hint}`
  const close = KNOWN_KEYS.find((known) => distance(known, key.toLowerCase()) <= 2)
  return close === undefined || close === key
    ? 'this key is not allowed here'
    : `this key is unknown; is "${close}" meant?`
}

function unknownType(input: unknown): string {
  const type = typeof input === 'object' && input !== null && 'type' in input ? input.type : input
  if (type === undefined) return 'is missing; server, client or admin is allowed'
  const more =
    type === 'relay'
      ? ' (relays are not in this version)'
      : type === 'overseer'
        ? ' (overseers do not exist any more: remove this participant)'
        : type === 'site'
          ? ' (a site is called client here)'
          : ''
  return `saw ${seen(type)}; server, client or admin is allowed${more}`
}

function unknownBuilder(input: unknown): string {
  const path = typeof input === 'object' && input !== null && 'path' in input ? input.path : input
  return `saw ${seen(path)}; this builder is not in this version: WorkspaceBuilder, StaticFileBuilder, CertBuilder and SignatureBuilder are, or leave builders out`
}

function seen(input: unknown): string {
  const text =
    typeof input === 'string' ? JSON.stringify(input) : (JSON.stringify(input) ?? 'nothing')
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

/** `participants[2].org` */
function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${String(step)}`,
    )
    .join('')
}

function refused(source: string, problems: readonly string[]): ProvisionError {
  const shown = problems.slice(0, MAX_PROBLEMS_SHOWN)
  const more = problems.length - shown.length
  const list = [...shown, ...(more > 0 ? [`… and ${more} more`] : [])]
  return new ProvisionError(
    'ERR_PROJECT_FILE',
    list.length === 1
      ? `${source}: ${list[0]}`
      : `${source}:\n${list.map((p) => `  ${p}`).join('\n')}`,
    { problems: problems.length },
  )
}

/** Levenshtein's distance, for hints on short keys. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(
        next[j - 1]! + 1,
        row[j]! + 1,
        row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      )
    row = next
  }
  return row[b.length]!
}
