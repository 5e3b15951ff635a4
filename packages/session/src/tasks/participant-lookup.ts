import { jobCell } from '../names.ts'

/**
 * Finds out which participant of a job speaks from a cell: the one in whose job cell it lies, or below it.
 * @param participants cells of the participants by site name
 */
export function participantLookup(
  jobId: string,
  participants: ReadonlyMap<string, string>,
): (cell: string) => string | undefined {
  const siteOfCell = new Map(
    Array.from(participants, ([name, parent]) => [jobCell(parent, jobId), name] as const),
  )
  return (origin) => {
    for (let cell = origin; cell !== ''; cell = cell.slice(0, Math.max(cell.lastIndexOf('.'), 0))) {
      const site = siteOfCell.get(cell)
      if (site !== undefined) return site
    }
    return undefined
  }
}
