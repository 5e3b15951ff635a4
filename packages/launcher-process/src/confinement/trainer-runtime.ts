/**
 * A program that the site lets trainers run on. The site's own configuration, never a job's: a job names it
 * and brings a script.
 */
export interface TrainerRuntime {
  /** Absolute path of the program. */
  readonly program: string
  /**
   * `node`: the options of the permission model, TypeScript and `@hanse/client` come with it. `python`: scripts
   * start through `hanse_flare.py` of `@hanse/client`, which gives FLARE's Client API its connection. `python` and
   * `other` can only be confined at the level `namespaces`.
   */
  readonly kind: 'node' | 'python' | 'other'
  /** Between the program and the script, e.g. `-u` for Python. */
  readonly options?: readonly string[] | undefined
  /** The whole environment besides the few names that `docs/confinement.md` lists. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /**
   * Folders and files it needs besides its program and the system's libraries, absolute; read-only and, under
   * `namespaces`, at the same place. E.g. a Python installation. Everything in them is visible to trainers.
   */
  readonly read?: readonly string[] | undefined
}

/** The runtime that this process itself runs on. */
export function ownNodeRuntime(): TrainerRuntime {
  return { program: process.execPath, kind: 'node' }
}
