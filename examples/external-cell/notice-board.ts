/**
 * A program outside Hanse that joins a league with a kit: it prints what changes in the league, and the notes that
 * programs like it at other places send; every line is JSON.
 *
 *     node notice-board.ts <kit> <id> [<cell> <note>]
 */
import { silentLogger, systemClock } from '@hanse/contract'
import { loadKit } from '@hanse/provision'
import { joinLeague } from '@hanse/site'

const CHANNEL = 'app.notices'

const [directory, id, to, note] = process.argv.slice(2)
if (directory === undefined || id === undefined)
  throw new Error('usage: node notice-board.ts <kit> <id> [<cell> <note>]')
const say = (line: object) => console.log(JSON.stringify(line))

const kit = await loadKit(directory, { now: Date.now() })
if (kit.type !== 'site') throw new Error(`${directory} is the kit of a ${kit.type}, not of a site`)

const stop = new AbortController()
const stopped = new Promise<void>((resolve) => {
  stop.signal.addEventListener('abort', () => resolve())
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort())

await using cell = await joinLeague(
  { kit, clock: systemClock, logger: silentLogger },
  { id, software: 'notice-board 1.0', signal: stop.signal },
)
say({ event: 'joined', as: cell.name })

let notes = 0
cell.handle(CHANNEL, 'note', (body, from) => {
  notes += 1
  say({ event: 'note', from, text: String(body) })
  return notes
})

if (to !== undefined) {
  const answer = await cell.request(to, CHANNEL, 'note', note ?? '')
  say({ event: 'answer', returnCode: answer.returnCode, error: answer.error, number: answer.body })
} else {
  await cell.watch(
    (snapshot) => say({ event: 'league', ...snapshot }),
    (change) => say({ ...Object.fromEntries(change) }),
  )
  await stopped
}
