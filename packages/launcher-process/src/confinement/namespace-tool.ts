import type { TrainerLimits } from './confined-program.ts'
import type { ConfinementTools } from './confinement-tools.ts'
import type { SandboxView } from './sandbox-view.ts'
import { SETUP_SCRIPT } from './setup-script.ts'

export type NamespaceTool = 'bubblewrap' | 'unshare'

const DEFAULT_TMP_BYTES = 256 * 1024 * 1024

/** Names of the tools that `tool` needs and this machine lacks. */
export function missingTools(tool: NamespaceTool, tools: ConfinementTools): string[] {
  const needed: readonly (keyof ConfinementTools)[] =
    tool === 'bubblewrap' ? ['bubblewrap'] : ['unshare', 'setpriv', 'umount', 'shell']
  return needed.filter((name) => tools[name] === undefined)
}

/** The command that runs `view.command` in namespaces of its own. The tool's tools are there. */
export function namespaceCommand(
  tool: NamespaceTool,
  tools: ConfinementTools,
  view: SandboxView,
  limits: TrainerLimits = {},
): string[] {
  const tmpBytes = String(limits.tmpBytes ?? DEFAULT_TMP_BYTES)
  return tool === 'bubblewrap'
    ? bubblewrapCommand(tools.bubblewrap!, view, tmpBytes)
    : unshareCommand(tools, view, tmpBytes)
}

function bubblewrapCommand(program: string, view: SandboxView, tmpBytes: string): string[] {
  return [
    program,
    ...['--unshare-user', '--unshare-ipc', '--unshare-pid', '--unshare-net', '--unshare-uts'],
    '--unshare-cgroup-try',
    '--disable-userns',
    '--die-with-parent',
    ...['--uid', '1000', '--gid', '1000', '--hostname', 'trainer'],
    // Read-only: where the site runs as root, /proc/sys is the machine's, and no capability is asked for.
    ...['--proc', '/proc', '--remount-ro', '/proc', '--dev', '/dev'],
    ...['--size', tmpBytes, '--tmpfs', '/tmp'],
    ...view.grants.flatMap(({ access, source, target }) => [
      access === 'ro' ? '--ro-bind' : '--bind',
      source,
      target,
    ]),
    ...systemLinks(view).flatMap((name) => ['--symlink', `usr/${name}`, `/${name}`]),
    ...['--remount-ro', '/', '--chdir', view.directory],
    ...['--cap-drop', 'ALL', '--'],
    ...view.command,
  ]
}

function unshareCommand(tools: ConfinementTools, view: SandboxView, tmpBytes: string): string[] {
  const grants = [
    ...view.grants,
    { access: 'ro', source: tools.setpriv!, target: '/.confinement/setpriv' },
    { access: 'ro', source: tools.umount!, target: '/.confinement/umount' },
  ]
  return [
    tools.unshare!,
    ...['--user', '--map-root-user', '--mount', '--net', '--pid', '--ipc', '--uts', '--cgroup'],
    ...['--fork', '--kill-child=SIGKILL', '--'],
    ...[tools.shell!, '-c', SETUP_SCRIPT, 'confinement', tmpBytes],
    ...grants.flatMap(({ access, source, target }) => [access, source, target]),
    ...['--', view.directory],
    ...view.command,
  ]
}

/** `/lib` and the like where they are links into `/usr`, which is how programs name their loader. */
function systemLinks(view: SandboxView): string[] {
  return ['lib', 'lib32', 'lib64'].filter(
    (name) =>
      view.grants.some(({ target }) => target === `/usr/${name}`) &&
      !view.grants.some(({ target }) => target === `/${name}`),
  )
}
