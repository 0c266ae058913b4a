"""What is run on a device's shell: constant POSIX scripts, all input as quoted arguments.

They hold for dash, bash, busybox and Android's mksh. A login shell may be another: it is asked for `sh` and no more.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nas_edge.errors import DeviceError

NO_COMMAND = 127
MISSING = 44
NOT_STARTED = "nas-edge: no such command"
BEAT_S = 20.0

RUN = """
cd "$1" || exit 125
shift
command -v "$1" >/dev/null 2>&1 || { echo "nas-edge: no such command" >&2; exit 127; }
exec 3<&0
{ cat; kill -9 -$$ || kill -9 $$; } <&3 3<&- >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""
"""Arguments: directory, command. When the input ends before the command (it was given up, or the connection was cut)
the command and all of its process group are killed."""

TALK = """
cd "$1" || exit 125
shift
command -v "$1" >/dev/null 2>&1 || { echo "nas-edge: no such command" >&2; exit 127; }
echo $$
exec "$@"
"""
"""Arguments: directory, command. First line of output: its process id."""

KILL = 'kill -9 -"$1" 2>/dev/null || kill -9 "$1" 2>/dev/null; exit 0'

KEEP = """
trap "" HUP INT TERM
umask 077
base=${1:-${TMPDIR:-/tmp}}
user=$(id -un)
work=$base/nas-edge-$user-$2
lock=$3
for old in "$base/nas-edge-$user-"*; do
  [ -f "$old/.keeper" ] && [ -O "$old" ] && [ ! -L "$old" ] && [ "$old" != "$work" ] || continue
  [ -n "$(find "$old/.beat" -mmin -60 2>/dev/null)" ] || rm -rf "$old"
done
mkdir "$work" 2>/dev/null || { [ -d "$work" ] && [ -O "$work" ] && [ ! -L "$work" ]; } || {
  echo "its directory $base cannot be written" >&2; exit 1; }
echo $$ > "$work/.keeper" && : > "$work/.beat" || exit 1
echo "$$ $work"
while read -r line; do
  if [ "$line" = bye ]; then
    rm -rf "$work"
    [ -f "$lock/by-$2" ] && rm -rf "$lock"
    exit 0
  fi
  : > "$work/.beat"
  [ -f "$lock/by-$2" ] && : > "$lock/beat"
done
sleep "$4"
read -r keeper < "$work/.keeper" || exit 0
[ "$keeper" = $$ ] || exit 0
[ -f "$lock/by-$2" ] && rm -rf "$lock"
rm -rf "$work"
"""
"""Arguments: parent directory, token, lock, seconds of grace. It lives as long as the connection: makes the working
directory, marks it and the lock as alive at each line it is sent, and removes both when it is told to, or when nobody
has come back for a while after the connection was cut. First line of output: its process id and the directory."""

TAKE = """
umask 022
lock=$1
again=0
while [ $again -lt 2 ]; do
  again=$((again + 1))
  if mkdir "$lock" 2>/dev/null; then
    echo "$3" > "$lock/owner"
    echo "$4 $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" > "$lock/keeper"
    : > "$lock/beat"
    : > "$lock/by-$2"
    echo taken
    exit 0
  fi
  [ -d "$lock" ] || { echo "the lock $lock cannot be made" >&2; exit 1; }
  if [ -f "$lock/by-$2" ]; then
    echo "$4 $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" > "$lock/keeper"
    echo taken
    exit 0
  fi
  stale=no
  mark=$lock/beat
  [ -f "$mark" ] || mark=$lock
  [ -n "$(find "$mark" -prune -mmin +3 2>/dev/null)" ] && stale=yes
  if [ -O "$lock" ] && read -r keeper boot < "$lock/keeper" 2>/dev/null; then
    [ -d "/proc/$keeper" ] && [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ] || stale=yes
  fi
  [ $stale = yes ] || { echo held; cat "$lock/owner" 2>/dev/null; exit 0; }
  mv "$lock" "$lock.$2" 2>/dev/null || { echo stale; cat "$lock/owner" 2>/dev/null; exit 0; }
  rm -rf "$lock.$2"
done
echo held
cat "$lock/owner" 2>/dev/null
"""
"""Arguments: lock, token, owner, process id of the keeper. Making a directory is atomic. What has our token is ours: we
were cut off. A lock is stale when its keeper is gone, the device was started since, or no sign of life came for three
minutes; only its user may remove it."""

RELEASE = '[ -f "$1/by-$2" ] && rm -rf "$1"; exit 0'

PULL = '[ -f "$1" ] || exit 44; wc -c < "$1" && cat "$1"'

ARRIVED = 'if [ -f "$1" ]; then wc -c < "$1"; else echo 0; fi'

STORE = """
mkdir -p "${2%/*}" || exit 1
if [ "$4" = 0 ]; then cat > "$1" || exit 1; else cat >> "$1" || exit 1; fi
[ "$(wc -c < "$1")" -eq "$3" ] || { echo "it did not arrive whole" >&2; exit 1; }
mv -f "$1" "$2"
"""
"""Arguments: part, target, bytes of the whole, offset. Input: what follows the offset."""

SECTIONS = """
for path in "$@"; do
  for file in $path; do
    [ -r "$file" ] && [ -f "$file" ] && printf "\\n==> %s\\n" "$file" && tr -d "\\000" < "$file"
  done
done
for tool in "uname -srm" "id -un" "getprop ro.product.model" "getprop ro.build.version.release" "getprop ro.serialno" \
  "getprop ro.soc.model" "nvpmodel -q" "vcgencmd get_throttled"; do
  command -v "${tool%% *}" >/dev/null 2>&1 && printf "\\n==> %s\\n" "$tool" && $tool
done
exit 0
"""
"""Arguments: paths, which may be patterns. Prints each file below a line with its name, and what some tools say."""


def shell(script: str, *arguments: str) -> str:
    """A command line that runs a constant script with arguments. Raises DeviceError for what no argument can hold."""
    for argument in arguments:
        if "\0" in argument:
            raise DeviceError(f"{argument!r} cannot be handed to a command: it holds a zero byte")
    return "exec " + " ".join(shlex.quote(word) for word in ("sh", "-c", script.strip(), "nas-edge", *arguments))


def with_command(script: str, directory: str, argv: Sequence[str]) -> str:
    """`RUN` or `TALK` of a command in a directory."""
    return shell(script, directory, *argv)
