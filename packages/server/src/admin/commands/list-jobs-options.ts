import { COMMAND_STATUS } from '@hanse/session'
import { CommandFailure } from '../reply-builder.ts'
import { readSubmitToken } from './submit-token.ts'

export interface ListJobsOptions {
  /** Whole metas instead of a table. */
  readonly detailed: boolean
  readonly ownOnly: boolean
  readonly newestFirst: boolean
  /** Prefix, compared without case. */
  readonly namePrefix: string
  readonly idPrefix: string
  readonly max: number | undefined
  /** Only the job that this person submitted with it. */
  readonly submitToken: string | undefined
}

export const LIST_JOBS_USAGE =
  'list_jobs [-d] [-u] [-r] [-n name_prefix] [-m max] [--submit-token token] [id_prefix]'

/** Reads the words of `list_jobs` (`spec/admin.md` §8.1). @throws {CommandFailure} `syntax_error` */
export function parseListJobs(words: readonly string[]): ListJobsOptions {
  const options = {
    detailed: false,
    ownOnly: false,
    newestFirst: false,
    namePrefix: '',
    idPrefix: '',
    max: undefined as number | undefined,
    submitToken: undefined as string | undefined,
  }
  const rest = words.filter((word) => word !== '')
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i]!
    if (word === '-n' || word === '-m' || word === '--submit-token') {
      const value = rest[++i]
      if (value === undefined) throw syntaxError(`${word} needs a value`)
      if (word === '-n') options.namePrefix = value
      else if (word === '--submit-token') options.submitToken = readSubmitToken(value)
      else options.max = parseMax(value)
    } else if (/^-[dur]+$/.test(word)) {
      options.detailed ||= word.includes('d')
      options.ownOnly ||= word.includes('u')
      options.newestFirst ||= word.includes('r')
    } else if (word.startsWith('-')) throw syntaxError(`${word} is not an option`)
    else if (options.idPrefix !== '') throw syntaxError('only one prefix of ids is allowed')
    else options.idPrefix = word
  }
  return options
}

function parseMax(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw syntaxError('-m needs a whole number from 1')
  return Number(text)
}

function syntaxError(why: string): CommandFailure {
  return new CommandFailure(COMMAND_STATUS.syntaxError, `${why}. Usage: ${LIST_JOBS_USAGE}`)
}
