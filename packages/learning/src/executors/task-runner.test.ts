import { silentLogger } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Executor, ExecutorTask, Filter } from '../components/contracts.ts'
import { FilterChains } from '../filters/filter-chains.ts'
import { LearningError } from '../learning-error.ts'
import { HEADER } from '../model/fl-model.ts'
import { ExecutorTable } from './executor-table.ts'
import { matchesPattern } from './task-pattern.ts'
import { TaskRunner } from './task-runner.ts'

const task: ExecutorTask = {
  id: 'id-1',
  name: 'train',
  data: new Shareable(
    new Map<string, unknown>([
      [HEADER.cookieJar, new Map([['__task_id__', 'id-1']])],
      [HEADER.currentRound, 4],
    ]) as never,
  ),
}
const throwing = (error: Error): Filter => ({
  process() {
    throw error
  },
})

function runnerOf(executor: Executor, filters = new FilterChains()): TaskRunner {
  const executors = new ExecutorTable()
  executors.add(['train'], executor)
  return new TaskRunner(
    { executors, filters, log: silentLogger, random: Math.random },
    { siteName: 'site-1', jobId: 'job-1' },
  )
}
const run = (
  executor: Executor,
  filters?: FilterChains,
  one = task,
  signal = new AbortController().signal,
) => runnerOf(executor, filters).run(one, { signal })
const good: Executor = { execute: async () => new Shareable(new Map(), new Map([['answer', 42]])) }

describe('TaskRunner', () => {
  it('gives the result with what leads it back to its task', async () => {
    const result = await run(good)
    expect(result.content.get('answer')).toBe(42)
    expect(Object.fromEntries(result.headers)).toEqual({
      [HEADER.cookieJar]: new Map([['__task_id__', 'id-1']]),
      [HEADER.currentRound]: 4,
      __task_name__: 'train',
      __task_id__: 'id-1',
    })
  })

  it('tells the executor job and site, and leaves the task as it was', async () => {
    let seen: Shareable | undefined
    await run({
      execute: async ({ data }) => {
        seen = data
        return new Shareable()
      },
    })
    expect(seen?.headers.get('site_name')).toBe('site-1')
    expect(seen?.headers.get('job_id')).toBe('job-1')
    expect(task.data.headers.has('site_name')).toBe(false)
  })

  it.each<[string, Executor, string]>([
    [
      'EXECUTION_EXCEPTION',
      { execute: () => Promise.reject(new Error('secret of the site')) },
      'train',
    ],
    [
      'EXECUTION_RESULT_ERROR',
      { execute: () => Promise.reject(new LearningError('ERR_RESULT', 'bad')) },
      'train',
    ],
    ['EXECUTION_RESULT_ERROR', { execute: async () => 'no result' as never }, 'train'],
    ['TASK_UNKNOWN', good, 'validate'],
  ])('answers %s, and nothing of the error leaves the site', async (code, executor, name) => {
    const result = await run(executor, undefined, { ...task, name })
    expect(result.headers.get(HEADER.returnCode)).toBe(code)
    expect(JSON.stringify([...result.headers, ...result.content])).not.toContain('secret')
  })

  it('does not execute what a data filter refuses, nor send what a result filter refuses', async () => {
    let executed = false
    const executor: Executor = {
      execute: async () => {
        executed = true
        return new Shareable(new Map(), new Map([['secret', 1]]))
      },
    }
    const before = new FilterChains()
    before.add('data', { tasks: ['train'], direction: 'in', filters: [throwing(new Error('no'))] })
    expect((await run(executor, before)).headers.get(HEADER.returnCode)).toBe(
      'TASK_DATA_FILTER_ERROR',
    )
    expect(executed).toBe(false)
    const after = new FilterChains()
    after.add('result', {
      tasks: ['train'],
      direction: 'out',
      filters: [throwing(new Error('no'))],
    })
    const result = await run(executor, after)
    expect(result.headers.get(HEADER.returnCode)).toBe('TASK_RESULT_FILTER_ERROR')
    expect(result.content.size).toBe(0)
  })

  it('shows result filters the data that the executor got', async () => {
    const filters = new FilterChains()
    const seen: unknown[] = []
    filters.add('data', {
      tasks: ['train'],
      direction: 'in',
      filters: [{ process: ({ headers }) => new Shareable(headers, new Map([['filtered', 1]])) }],
    })
    filters.add('result', {
      tasks: ['train'],
      direction: 'out',
      filters: [
        {
          process(message, { task: data }) {
            seen.push(data?.content.get('filtered'))
            return message
          },
        },
      ],
    })
    await run(good, filters)
    expect(seen).toEqual([1])
  })

  it('answers TASK_ABORTED when the run is aborted, whatever the executor does', async () => {
    const abort = new AbortController()
    const executor: Executor = {
      execute: async () => {
        abort.abort(new Error('stop'))
        return new Shareable(new Map(), new Map([['late', 1]]))
      },
    }
    const result = await run(executor, undefined, task, abort.signal)
    expect(result.headers.get(HEADER.returnCode)).toBe('TASK_ABORTED')
    expect(result.content.size).toBe(0)
  })
})

describe('ExecutorTable', () => {
  it('prefers exact names, then patterns in order', () => {
    const table = new ExecutorTable()
    const [a, b, c] = [{ ...good }, { ...good }, { ...good }]
    table.add(['tr*'], a)
    table.add(['*'], b)
    table.add(['train'], c)
    expect(table.find('train')).toBe(c)
    expect(table.find('transform')).toBe(a)
    expect(table.find('validate')).toBe(b)
    expect(() => table.add(['*'], c)).toThrow(/two executors/)
    expect(() => table.add([], c)).toThrow(/no tasks/)
  })
})

describe('matchesPattern', () => {
  it.each<[string, string, boolean]>([
    ['*', '', true],
    ['*', 'anything', true],
    ['sw*_x', 'swarm_x', true],
    ['sw*_x', 'swarm_y', false],
    ['a?c*', 'abc', true],
    ['a?c*', 'ac', false],
    ['[a-c]*', 'bee', true],
    ['[!a-c]*', 'bee', false],
    ['[]]*', ']x', true],
    ['[*', '[x', true],
    ['*.*', 'a.b', true],
    ['a*b*c', 'abxbc', true],
    ['train*', 'Train', false],
  ])('%s on %s: %s', (pattern, name, wanted) => {
    expect(matchesPattern(pattern, name)).toBe(wanted)
  })

  it('agrees with a regular expression', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'b', '*', '?')),
        fc.array(fc.constantFrom('a', 'b')),
        (p, n) => {
          const expression = new RegExp(
            `^${p.map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c)).join('')}$`,
          )
          expect(matchesPattern(p.join(''), n.join(''))).toBe(expression.test(n.join('')))
        },
      ),
    )
  })

  it('takes no time for a pattern made to take long', () => {
    expect(matchesPattern(`${'a*'.repeat(500)}b`, 'a'.repeat(5000))).toBe(false)
  })
})
