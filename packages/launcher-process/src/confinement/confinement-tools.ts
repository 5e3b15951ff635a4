import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

/** Programs of the system that confinement is made with; absolute paths. */
export interface ConfinementTools {
  readonly bubblewrap: string | undefined
  readonly unshare: string | undefined
  readonly setpriv: string | undefined
  readonly prlimit: string | undefined
  readonly umount: string | undefined
  readonly shell: string | undefined
}

/** Only where an administrator installs: never the `PATH` of whoever starts the site. */
const DIRECTORIES = ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin']

/** What this machine has. */
export function findConfinementTools(): ConfinementTools {
  return {
    bubblewrap: find('bwrap'),
    unshare: find('unshare'),
    setpriv: find('setpriv'),
    prlimit: find('prlimit'),
    umount: find('umount'),
    shell: find('sh'),
  }
}

function find(name: string): string | undefined {
  return DIRECTORIES.map((directory) => join(directory, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
