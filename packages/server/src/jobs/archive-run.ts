import { folderMembers, writeArchive } from '@hanse/archive'

/** Files of a run that are no result. */
const LEFT_OUT = /^(?:run\.json|job\.zip|spool(?:\/|$)|.*\.part$)/

/** The folder of a run as a zip, laid out as stock's workspace archive (`spec/jobs.md` §5). */
export async function* archiveRun(folder: string): AsyncGenerator<Uint8Array, void> {
  yield* writeArchive(results(folder))
}

async function* results(folder: string) {
  for await (const member of folderMembers(folder)) if (!LEFT_OUT.test(member.path)) yield member
}
