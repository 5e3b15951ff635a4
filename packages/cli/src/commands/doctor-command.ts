import type { Diagnosis } from '@hanse/doctor'
import { buildCommand, type Command } from '@stricli/core'
import { EXIT } from '../cli-error.ts'
import { type HanseContext, type OutputFlags, pathOf, perform } from '../hanse-context.ts'
import { faultText } from '../output/fault-text.ts'
import { jsonFlag, kitParameter, parseSeconds } from './flags.ts'

interface DoctorFlags extends OutputFlags {
  readonly idle?: number
}

export const doctorCommand: Command<HanseContext> = buildCommand({
  docs: {
    brief: 'Say what is wrong between a participant and its server, and what to do',
    fullDescription:
      'Looks at the kit, the way to the server, the certificates of both sides and the greeting of the server. ' +
      'Changes nothing, and may run while the participant does. Ends with 1 if something is wrong. With --idle it ' +
      'also holds a connection, silent but for the heartbeat of the kit, while the participant does not run.',
  },
  parameters: {
    positional: { kind: 'tuple', parameters: [kitParameter] },
    flags: {
      json: jsonFlag,
      idle: {
        kind: 'parsed',
        brief: 'Hold a connection for so many seconds and see whether it lasts',
        placeholder: 'seconds',
        parse: parseSeconds,
        optional: true,
      },
    },
  },
  func(this: HanseContext, flags: DoctorFlags, kit: string) {
    const { host } = this
    return perform(this, flags, async () => {
      const { idle } = flags
      if (idle !== undefined) host.stderr.write(`holds a connection for ${idle} s\n`)
      const diagnosis = await host.diagnose(pathOf(host, kit), {
        idleMs: idle === undefined ? undefined : idle * 1000,
      })
      return {
        json: {
          ok: diagnosis.ok,
          faults: diagnosis.faults.map((fault) => ({ ...fault })),
          passed: [...diagnosis.passed],
          warnings: [...diagnosis.warnings],
        },
        text: diagnosisText(diagnosis),
        exitCode: diagnosis.ok ? EXIT.done : EXIT.failed,
      }
    })
  },
})

const STEPS = {
  kit: 'the kit is complete and valid',
  reach: 'the server can be reached',
  tls: 'both sides accept each other on the connection',
  league: 'the server of the league greets us',
} as const

function diagnosisText({ faults, passed, warnings }: Diagnosis): string {
  return [
    ...passed.map((step) => `ok     ${STEPS[step]}`),
    ...warnings.map((warning) => `note   ${warning}`),
    ...faults.map(faultText),
  ].join('\n')
}
