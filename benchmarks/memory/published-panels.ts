import { readFile, writeFile } from 'node:fs/promises'
import { coarser } from './memory-curves.ts'
import { type GraphSize, type MemoryPanel, memoryGraph } from './memory-graph.ts'

const GRAPH = new URL('../../docs/memory.svg', import.meta.url)
/** The panels themselves, from which the graph is made. */
const PANELS = new URL('../memory.json', import.meta.url)
/** Points of a line: more than pixels would not be seen. */
const POINTS = 130

/** A panel as it is kept: on which run it rests. */
interface PublishedPanel extends MemoryPanel {
  /** Day, `YYYY-MM-DD`. */
  readonly on: string
}

/** Puts a panel in the place of the last one of its size and sites, and draws the graph anew. */
export async function publishPanel(panel: MemoryPanel, size: GraphSize): Promise<void> {
  const others = (await readPanels()).filter(
    ({ mb, sites }) => mb !== panel.mb || sites !== panel.sites,
  )
  const on = new Date().toISOString().slice(0, 10)
  const published = { ...panel, curves: coarser(panel.curves, POINTS), on }
  const panels = [...others, published].sort((a, b) => a.mb - b.mb || a.sites - b.sites)
  // A panel a line: its numbers are for programs.
  await writeFile(PANELS, `[\n${panels.map((it) => JSON.stringify(it)).join(',\n')}\n]\n`)
  const days = panels.map((it) => it.on).sort()
  const span = days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`
  const caption = `npm run bench -- memory --write, ${span}. Trainers are not counted; pages that processes share count at each.`
  await writeFile(GRAPH, memoryGraph(panels, size, caption))
}

async function readPanels(): Promise<PublishedPanel[]> {
  try {
    return JSON.parse(await readFile(PANELS, 'utf8')) as PublishedPanel[] // written by `publishPanel`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
