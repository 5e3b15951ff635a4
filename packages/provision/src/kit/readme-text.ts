import type { AnyParticipant, Project } from '../project/project.ts'

/** The short text that goes to whoever receives the kit. */
export function readmeText(project: Project, participant: AnyParticipant): string {
  const start =
    participant.type === 'admin'
      ? 'Run startup/fl_admin.sh to see the league, or to open the console of the stock package.'
      : 'Run startup/start.sh; it stays in the foreground. Stop it with Ctrl-C or SIGTERM.'
  const local =
    participant.type === 'admin'
      ? ''
      : `
local/ is yours: copy NAME.default to NAME and edit it. authorization.json says who may do what here,
hanse.json how code from jobs is confined, datasets.json which data jobs may ask for.
`
  return `Startup kit of ${participant.name} in the project ${project.name}

${start}
With Hanse installed the kit runs on Hanse, else on the stock package; HANSE_RUNTIME=hanse or stock decides.
${local}
startup/ holds your private key and the addresses of the league. Keep it secret and do not change it:
every start compares it with the list that the project's CA signed, and names what was changed.
`
}
