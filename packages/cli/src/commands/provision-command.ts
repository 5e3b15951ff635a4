import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { messageOf } from '@hanse/contract'
import type { AskPassphrase } from '@hanse/provision'
import { buildCommand, type Command } from '@stricli/core'
import { CliError } from '../cli-error.ts'
import type { CliHost } from '../cli-host.ts'
import { type HanseContext, type OutputFlags, pathOf, perform } from '../hanse-context.ts'
import { textTable } from '../output/text-table.ts'
import { jsonFlag } from './flags.ts'

interface ProvisionFlags extends OutputFlags {
  readonly out: string
  readonly passphraseFile?: string
  readonly reissue?: readonly string[]
}

const MAX_PASSPHRASE_FILE_CHARACTERS = 4096

export const provisionCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Make startup kits for everybody in a project file',
    fullDescription:
      'Makes a startup kit for every participant of the project file who has none yet. The first run makes the ' +
      "project's certificate authority. A passphrase protects its key: it is asked for on a terminal, or read from " +
      '--passphrase-file or HANSE_CA_PASSPHRASE; without one a key file in your configuration folder does. ' +
      'Kits that exist stay as they are.',
  },
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'Project file, YAML', placeholder: 'project.yml', parse: String }],
    },
    flags: {
      out: {
        kind: 'parsed',
        brief: 'Folder that gets the kits',
        placeholder: 'dir',
        parse: String,
      },
      passphraseFile: {
        kind: 'parsed',
        brief: "File whose first line is the passphrase of the project's authority",
        placeholder: 'file',
        parse: String,
        optional: true,
      },
      reissue: {
        kind: 'parsed',
        brief: 'Participant who gets a new kit although there is one; may be given several times',
        placeholder: 'name',
        parse: String,
        optional: true,
        variadic: true,
      },
      json: jsonFlag,
    },
  },
  func(this: HanseContext, flags: ProvisionFlags, file: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const { parseProject, provision } = await import('@hanse/provision')
      const path = pathOf(host, file)
      const project = parseProject(await readText(path))
      for (const warning of project.warnings) host.stderr.write(`hanse: ${warning}\n`)
      const result = await provision(
        project,
        { clock: host.clock },
        {
          outDirectory: pathOf(host, flags.out),
          configDirectory: host.configDirectory,
          projectFileDirectory: dirname(path),
          passphrase: passphraseOf(host, flags),
          ...(flags.reissue !== undefined && { reissue: flags.reissue }),
        },
      )
      for (const warning of result.warnings) host.stderr.write(`hanse: ${warning}\n`)
      const folder = result.prodDirectory ?? result.projectDirectory
      const protectedBy =
        result.caKey.protectedBy === 'passphrase'
          ? 'a passphrase protects the key of the authority'
          : `the key of the authority is protected by ${result.caKey.keyFile}; back it up`
      return {
        json: {
          project: result.project,
          folder,
          participants: result.kits.map(({ name, type, directory }) => ({
            name,
            type,
            kit: directory,
          })),
        },
        text: [
          textTable(
            ['participant', 'type', 'kit', ''],
            result.kits.map(({ name, type, directory, status }) => [name, type, directory, status]),
          ),
          '',
          `root certificate ${result.rootFingerprint}`,
          protectedBy,
        ].join('\n'),
      }
    })
  },
})

/** First the file, then the environment, then a person; whoever leaves it empty gets a key file. */
function passphraseOf(host: CliHost, { passphraseFile }: ProvisionFlags): AskPassphrase {
  return async ({ project, purpose }) => {
    if (passphraseFile !== undefined) {
      const text = await readText(pathOf(host, passphraseFile))
      if (text.length > MAX_PASSPHRASE_FILE_CHARACTERS)
        throw new CliError(
          'ERR_FILE',
          `${basename(passphraseFile)} has ${text.length} characters; a passphrase file has at most ${MAX_PASSPHRASE_FILE_CHARACTERS}`,
          'give a file whose first line is the passphrase',
        )
      return text.split(/\r?\n/, 1)[0]
    }
    const fromEnvironment = host.environment['HANSE_CA_PASSPHRASE']
    if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
    if (purpose === 'open') return host.askSecret(`Passphrase of the authority of ${project}: `)
    const first = await host.askSecret(
      `New passphrase for the authority of ${project} (empty: a key file instead): `,
    )
    if (first === undefined || first === '') return undefined
    if ((await host.askSecret('The same again: ')) !== first)
      throw new CliError('ERR_USAGE', 'the two passphrases differ', 'run the command again')
    return first
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new CliError('ERR_FILE', `cannot read ${path}: ${messageOf(cause)}`, 'check the path', {
      cause,
    })
  }
}
