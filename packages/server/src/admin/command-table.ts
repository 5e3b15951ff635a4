import type { AdminCommand } from './admin-command.ts'
import type { ReplyBuilder } from './reply-builder.ts'

/** The commands of this server by name; a name may be given with its scope before it. */
export class CommandTable {
  readonly #byName = new Map<string, AdminCommand>()

  constructor(commands: readonly AdminCommand[]) {
    for (const command of commands) {
      if (this.#byName.has(command.name)) throw new Error(`command ${command.name} is there twice`)
      this.#byName.set(command.name, command)
    }
  }

  /** `job_mgmt.list_jobs` and `list_jobs` are the same. */
  find(word: string): AdminCommand | undefined {
    const whole = this.#byName.get(word)
    if (whole !== undefined) return whole
    const dot = word.indexOf('.')
    const command = dot < 0 ? undefined : this.#byName.get(word.slice(dot + 1))
    return command?.scope === word.slice(0, dot) ? command : undefined
  }

  /** What a tool needs to know of every command (`spec/admin.md` §5). */
  describe(reply: ReplyBuilder): void {
    const commands = [...this.#byName.values()]
      .filter(({ name }) => !name.startsWith('_'))
      .toSorted((a, b) => compare(a.scope, b.scope) || compare(a.name, b.name))
    reply.table(
      ['SCOPE', 'COMMAND', 'DESCRIPTION', 'USAGE', 'CONFIRM', 'CLIENTCMD', 'VISIBLE'],
      commands.map((command) => [
        command.scope,
        command.name,
        command.description,
        command.usage,
        command.confirm,
        command.clientProcedure ?? null,
        'True',
      ]),
    )
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
