import type { GeneralCommand } from '../admin-command.ts'

const REFUSED = [
  'register_study',
  'add_study_site',
  'remove_study_site',
  'remove_study',
  'show_study',
  'add_study_user',
  'remove_study_user',
]

/**
 * Studies are not in Hanse: there are none, and none can be made. Stock's tools take errors of these commands from a
 * dictionary with status ok (`spec/admin.md` §8.3).
 */
export function studyCommands(): readonly GeneralCommand[] {
  const common = { scope: 'study_mgmt', confirm: 'none', kind: 'general', rights: [] } as const
  return [
    {
      ...common,
      name: 'list_studies',
      description: 'list visible studies: there are none',
      usage: 'list_studies',
      run({ session, reply }) {
        const { name, organization, role } = session.person
        reply
          .dict({ identity: { name, org: organization, role }, studies: [], study_details: [] })
          .ok()
      },
    },
    ...REFUSED.map(
      (name): GeneralCommand => ({
        ...common,
        name,
        description: 'not in Hanse: a server has no studies',
        usage: `${name} <study>`,
        run({ reply }) {
          reply
            .dict({
              error_code: 'STUDIES_NOT_SUPPORTED',
              message: 'a Hanse server has no studies',
              hint: "leave the study out; who may do what is said by the server's policy, and by each site's own",
              exit_code: 1,
            })
            .ok()
        },
      }),
    ),
  ]
}
