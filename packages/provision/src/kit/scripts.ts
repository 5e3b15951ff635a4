/**
 * Scripts of a kit, our own: they behave like stock's for whoever runs the stock package
 * (`spec/provision.md` §6) and hand over to Hanse where it is installed.
 */

const CHOOSE_RUNTIME = `startup="$(cd "$(dirname "\${BASH_SOURCE[0]}")" && pwd)"
kit="$(dirname "$startup")"
runtime="\${HANSE_RUNTIME:-}"
if [[ -z "$runtime" ]]; then
  if command -v hanse >/dev/null 2>&1; then runtime=hanse; else runtime=stock; fi
fi`

const UNKNOWN_RUNTIME = `  *)
    echo "HANSE_RUNTIME is '$runtime'; hanse or stock is allowed" >&2
    exit 2
    ;;`

/** Starts a server or site in the foreground. */
export const START_SCRIPT = `#!/usr/bin/env bash
# Starts this participant in the foreground: with Hanse if it is installed, else with the stock package.
# HANSE_RUNTIME=hanse or HANSE_RUNTIME=stock decides.
set -eu
${CHOOSE_RUNTIME}
case "$runtime" in
  hanse) exec hanse start "$kit" "$@" ;;
  stock) exec "$startup/sub_start.sh" "$@" ;;
${UNKNOWN_RUNTIME}
esac
`

/** Starts the console of a person. */
export const ADMIN_SCRIPT = `#!/usr/bin/env bash
# Shows the league if Hanse is installed, which has commands instead of a console ("hanse --help"; HANSE_KIT says as
# whom); else opens the console of the stock package. HANSE_RUNTIME=hanse or HANSE_RUNTIME=stock decides.
set -eu
${CHOOSE_RUNTIME}
mkdir -p "$kit/transfer"
case "$runtime" in
  hanse) exec hanse status --as "$kit" "$@" ;;
  stock) exec python3 -m nvflare.fuel.hci.tools.admin -m "$kit" -s fed_admin.json "$@" ;;
${UNKNOWN_RUNTIME}
esac
`

/** Asks a participant that runs on the stock package to stop. */
export const STOP_SCRIPT = `#!/usr/bin/env bash
# Stops a participant that runs on the stock package. Hanse stops on Ctrl-C or SIGTERM.
set -eu
kit="$(cd "$(dirname "\${BASH_SOURCE[0]}")/.." && pwd)"
workspace="\${NVFL_WORKSPACE:-$kit}"
if [[ ! -f "$workspace/daemon_pid.fl" ]]; then
  echo "Nothing runs on the stock package here. Stop Hanse with Ctrl-C or SIGTERM." >&2
  exit 1
fi
if [[ "\${1:-}" != "-y" ]]; then
  read -r -p "Stop the participant in $workspace? (y/N) " answer
  [[ "$answer" == [yY]* ]] || exit 0
fi
touch "$workspace/shutdown.fl"
echo "It stops within some seconds."
`

export interface StockProcess {
  /** Python module below \`nvflare.private.fed.app\`. */
  readonly module: 'server.server_train' | 'client.client_train'
  readonly configuration: 'fed_server.json' | 'fed_client.json'
  /** Certificate name of a site; a server needs none. */
  readonly uid: string | undefined
  readonly org: string
}

/**
 * Runs the stock package and keeps it running, steered by the files \`shutdown.fl\` and \`restart.fl\` as stock
 * does; \`--once\` runs it once, without supervision. Names were checked by the project schema: no quoting needed.
 */
export function superviseScript({ module, configuration, uid, org }: StockProcess): string {
  return `#!/usr/bin/env bash
# Runs this participant on the stock package and keeps it running. Called by start.sh; "--once" runs it once.
set -u
kit="$(cd "$(dirname "\${BASH_SOURCE[0]}")/.." && pwd)"
workspace="\${NVFL_WORKSPACE:-$kit}"
if [[ -z "$workspace" || "$workspace" == / ]]; then
  echo "workspace '$workspace' cannot be used" >&2
  exit 1
fi
if [[ "$workspace" != "$kit" ]]; then
  mkdir -p "$workspace"
  rm -rf "$workspace/kit" "$workspace/startup" "$workspace/local"
  cp -a "$kit" "$workspace/kit"
  chmod 700 "$workspace" "$workspace/kit"
  ln -s kit/startup "$workspace/startup"
  ln -s kit/local "$workspace/local"
fi
mkdir -p "$workspace/transfer"
cd "$workspace"
export PYTHONPATH="/local/custom\${PYTHONPATH:+:$PYTHONPATH}"
export MALLOC_ARENA_MAX="\${MALLOC_ARENA_MAX:-4}"

run() {
  exec python3 -u -m nvflare.private.fed.app.${module} -m "$workspace" -s ${configuration} \\
    --set secure_train=true${uid === undefined ? '' : ` uid=${uid}`} org=${org} config_folder=config
}

if [[ "\${1:-}" == --once ]]; then
  rm -f pid.fl shutdown.fl restart.fl
  run
fi

if [[ -f daemon_pid.fl ]] && kill -0 "$(cat daemon_pid.fl)" 2>/dev/null; then
  echo "it runs already, process $(cat daemon_pid.fl); if not, remove $workspace/daemon_pid.fl" >&2
  exit 1
fi
rm -f pid.fl shutdown.fl restart.fl
echo $$ >daemon_pid.fl
child=
end_child() {
  [[ -n "$child" ]] || return 0
  kill "$child" 2>/dev/null
  for _ in 1 2 3 4 5; do
    kill -0 "$child" 2>/dev/null || break
    sleep 1
  done
  kill -9 "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  child=
}
trap 'end_child; rm -f pid.fl daemon_pid.fl shutdown.fl restart.fl; exit 0' INT TERM

quick_ends=0
while [[ ! -f shutdown.fl ]]; do
  rm -f restart.fl
  began=$SECONDS
  (run) &
  child=$!
  echo "$child" >pid.fl
  while kill -0 "$child" 2>/dev/null && [[ ! -f shutdown.fl && ! -f restart.fl ]]; do sleep 1; done
  # The process reads the same files: give it time to end by itself.
  if [[ -f shutdown.fl || -f restart.fl ]]; then sleep 5; fi
  end_child
  if (( SECONDS - began < 300 )); then quick_ends=$((quick_ends + 1)); else quick_ends=0; fi
  if (( quick_ends >= 5 )) && [[ ! -f shutdown.fl ]]; then
    echo "it ended $quick_ends times shortly after its start; see the log" >&2
    rm -f pid.fl daemon_pid.fl restart.fl
    exit 1
  fi
  [[ -f shutdown.fl ]] || sleep 5
done
rm -f pid.fl daemon_pid.fl shutdown.fl restart.fl
`
}
