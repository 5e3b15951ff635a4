/** Exit code of a confinement that could not be set up; its reason is on the error stream. */
export const SETUP_FAILED = 125
/** How that reason begins. */
export const SETUP_FAILED_PREFIX = 'confinement: '

/**
 * Run by `sh` as first process of the new namespaces: builds a root of its own from what is granted, drops the
 * old one and every privilege, and waits for the program. All names come as arguments, none is part of the
 * script. Being process 1, it also reaps, and its end takes every process inside with it.
 *
 * Arguments: size of /tmp in bytes; then `ro|rw SOURCE TARGET` for each grant, `--`, the directory to start
 * in, the program and its arguments. `setpriv` and `umount` are granted under `/.confinement`.
 */
export const SETUP_SCRIPT = `
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
fail() { echo "${SETUP_FAILED_PREFIX}$1" >&2; exit ${SETUP_FAILED}; }
# The new root is built over /sys: it is there on every Linux, and nothing in it is ever granted.
root=/sys tmp_size=$1
shift

# What is inherited may be locked by the kernel (noexec, ro): mount keeps those options when it reads them
# itself. Mounts below a granted folder come along, and each needs its own read-only flag.
restrict() {
  while read -r _ _ _ _ point _; do
    point=$(printf '%b' "$point")
    case $point in
      "$1" | "$1"/*) mount -o "remount,bind,$2" "$point" || fail "cannot restrict a mount" ;;
    esac
  done < /proc/self/mountinfo
}
bind() {
  if [ -d "$1" ]; then mkdir -p "$root$2"
  else mkdir -p "$root\${2%/*}"; : > "$root$2"; fi
  mount --rbind -- "$1" "$root$2" || fail "cannot bind a granted path"
}

mount --make-rprivate / || fail "cannot separate the mounts"
mount -t tmpfs -o nosuid,nodev,mode=755,size=1m tmpfs "$root" || fail "cannot make a root"
mkdir "$root/proc" "$root/tmp" "$root/dev" "$root/dev/shm" "$root/.old"
mount -t tmpfs -o "nosuid,nodev,mode=1777,size=$tmp_size" tmpfs "$root/tmp" || fail "cannot make /tmp"
mount -t tmpfs -o "nosuid,nodev,noexec,mode=1777,size=$tmp_size" tmpfs "$root/dev/shm" ||
  fail "cannot make /dev/shm"
for device in null zero full random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device" || fail "cannot bind a device"
done
# Read-only: where the site runs as root, /proc/sys is the machine's, and no capability is asked for.
# Some containers hide parts of /proc, and then the kernel allows no new one. Programs can do without.
mount -t proc -o ro,nosuid,nodev,noexec proc "$root/proc" 2> /dev/null || true
while [ "$1" != -- ]; do
  case $1 in
    rw) bind "$2" "$3"; restrict "$root$3" nosuid,nodev ;;
    *) bind "$2" "$3"; restrict "$root$3" ro,nosuid,nodev ;;
  esac
  shift 3
done
directory=$2
shift 2
# No further user namespaces: they would open kernel interfaces that nothing in here needs.
echo 0 > /proc/sys/user/max_user_namespaces 2> /dev/null || true
for link in lib lib64 lib32 bin; do
  if [ -L "/$link" ] && [ -d "$root/usr/$link" ]; then ln -s "usr/$link" "$root/$link"; fi
done
mount -o remount,bind,ro,nosuid,nodev "$root" || fail "cannot close the root"
cd "$root"
pivot_root . .old || fail "cannot change the root"
/.confinement/umount -l /.old || fail "cannot drop the old root"
cd "$directory" || fail "cannot enter the app folder"
unset PATH OLDPWD PWD
set +e
/.confinement/setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all \\
  -- "$@"
exit $?
`
