import { type Application, buildApplication, buildRouteMap } from '@stricli/core'
import { auditRoutes } from './commands/audit-commands.ts'
import { doctorCommand } from './commands/doctor-command.ts'
import { jobRoutes } from './commands/job-commands.ts'
import { provisionCommand } from './commands/provision-command.ts'
import { reinstateCommand, revokeCommand } from './commands/revocation-commands.ts'
import { scopesCommand } from './commands/scopes-command.ts'
import { disableCommand, enableCommand } from './commands/site-commands.ts'
import { startCommand } from './commands/start-command.ts'
import { statusCommand } from './commands/status-command.ts'
import type { HanseContext } from './hanse-context.ts'

/** The command tree of `hanse`. */
export function hanseApplication(version: string): Application<HanseContext> {
  return buildApplication(
    buildRouteMap({
      routes: {
        provision: provisionCommand,
        start: startCommand,
        status: statusCommand,
        scopes: scopesCommand,
        job: jobRoutes,
        audit: auditRoutes,
        doctor: doctorCommand,
        disable: disableCommand,
        enable: enableCommand,
        revoke: revokeCommand,
        reinstate: reinstateCommand,
      },
      docs: {
        brief: 'Federated computing: sites keep their data, models travel',
        fullDescription:
          'Federated computing: sites keep their data, models travel.\n\n' +
          'Ends with 0 when done, 1 when it failed, 2 for wrong usage, 3 when refused.',
      },
    }),
    {
      name: 'hanse',
      versionInfo: { currentVersion: version },
      scanner: { caseStyle: 'allow-kebab-for-camel' },
      documentation: { caseStyle: 'convert-camel-to-kebab', disableAnsiColor: true },
    },
  )
}
