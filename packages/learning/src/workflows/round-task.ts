import { Shareable } from '@hanse/session'
import { HEADER } from '../model/fl-model.ts'

/**
 * A generator's message as the task of a round: with the round's number and the cookie by which its answers are
 * known. `made` is not changed.
 */
export function roundTask(made: Shareable, round: number, totalRounds: number): Shareable {
  const task = new Shareable()
  for (const [key, value] of made.headers) task.headers.set(key, value)
  for (const [key, value] of made.content) task.content.set(key, value)
  task.headers.set(HEADER.currentRound, round)
  task.headers.set(HEADER.totalRounds, totalRounds)
  task.headers.set(HEADER.cookieJar, new Map([[HEADER.contributionRound, round]]))
  return task
}
