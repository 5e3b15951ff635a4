import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { League, SERVER } from '../support/league.ts'

const PROGRAM = fileURLToPath(
  new URL('../../examples/external-cell/notice-board.ts', import.meta.url),
)
const BOARD = 'site-1.-board'

/** As `examples/external-cell/README.md` has it. */
const SETTINGS = {
  format_version: 1,
  external_cells: {
    [BOARD]: { watch: true },
    'site-2.-board': { send: [{ to: BOARD, channel: 'app.notices', topics: ['note'] }] },
  },
}

let league: League
beforeAll(async () => {
  league = await League.start({
    prepare: (made) =>
      writeFile(join(made.kit(SERVER), 'local', 'hanse.json'), JSON.stringify(SETTINGS)),
  })
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const running: ChildProcess[] = []
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    await closed
  }
})

type Line = Readonly<Record<string, unknown>>

/** Starts the program as its user would. */
function start(...args: string[]) {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: league.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  const lines: Line[] = []
  let errors = ''
  let wake = () => {}
  let isOver = false
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Line)
    wake()
  })
  const ended = once(child, 'close').then(([code]) => {
    isOver = true
    wake()
    return { code: code as number | null, errors }
  })
  return {
    ended,
    stop: () => child.kill('SIGTERM'),
    /** @param nth of those that fit, from 0 */
    async line(wanted: Line, nth = 0): Promise<Line> {
      for (;;) {
        const fits = (line: Line) => Object.entries(wanted).every(([k, v]) => line[k] === v)
        const found = lines.filter(fits)[nth]
        if (found !== undefined) return found
        if (isOver) throw new Error(`ended without ${JSON.stringify(wanted)}: ${errors}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}

const board = () => start(league.kit('site-1'), 'board')
const sender = (to: string, note: string) => start(league.kit('site-2'), 'board', to, note)

describe('a program outside Hanse', () => {
  it('joins with a kit, is told what is there and what changes, and hears from its like', async () => {
    const first = board()
    expect(await first.line({ event: 'joined' })).toMatchObject({ as: BOARD })
    expect((await first.line({ event: 'league' }))['sites']).toEqual(['site-1', 'site-2'])

    const second = sender(BOARD, 'scanner is back')
    expect(await second.line({ event: 'answer' })).toMatchObject({ returnCode: 'ok', number: 1 })
    expect((await second.ended).code).toBe(0)
    await first.line({ event: 'note', from: 'site-2.-board', text: 'scanner is back' })

    await league.place('site-2').stop()
    await first.line({ event: 'site-left', site: 'site-2' })
    await league.startPlace('site-2')
    await first.line({ event: 'site-joined', site: 'site-2' })

    first.stop()
    expect((await first.ended).code).toBe(0)
    const gone = sender(BOARD, 'is anybody there?')
    expect(await gone.line({ event: 'answer' })).not.toMatchObject({ returnCode: 'ok' })
  })

  it('goes on after a restart of the server', async () => {
    const first = board()
    await first.line({ event: 'league' })
    await league.place(SERVER).stop()
    await league.startPlace(SERVER)
    const { sites } = await first.line({ event: 'league' }, 1)
    // Whoever is back first.
    if (!(sites as string[]).includes('site-2'))
      await first.line({ event: 'site-joined', site: 'site-2' })
    await league.place('site-2').stop()
    await first.line({ event: 'site-left', site: 'site-2' })
    await league.startPlace('site-2')
  })

  it('is refused where the server does not name it, and what it does not grant', async () => {
    const other = start(league.kit('site-1'), 'other')
    const { code, errors } = await other.ended
    expect(code).not.toBe(0)
    expect(errors).toMatch(/external_cells/)

    const nosy = start(league.kit('site-1'), 'board', 'site-2.-board', 'hello')
    expect((await nosy.line({ event: 'answer' }))['returnCode']).not.toBe('ok')
    const entries = await league.record(SERVER)
    const seen = entries.map(({ act, code, outcome }) => `${act} ${code} ${outcome}`)
    expect(seen).toContain('external-cell.allow allowed accepted')
    expect(seen).toContain('message not-granted refused')
    expect(entries).toContainEqual(
      expect.objectContaining({ act: 'login', target: BOARD, outcome: 'accepted' }),
    )
  })
})
