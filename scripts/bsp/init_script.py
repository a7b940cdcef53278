"""The init script, started and stopped for real with a real agent, by Debian's start-stop-daemon and by busybox'."""

import os
import subprocess
import tempfile
from pathlib import Path

from products import REPOSITORY

DIST = REPOSITORY / "agent/dist"
# Runs in the toolbox, whose C library is the agent's, in a mount and process namespace of its own: nothing of it is seen
# outside, and nothing outlives it.
_SCENARIO = """
set -eu
work=$1
PATH=$FIRST_PROGRAMS$PATH
mount -t tmpfs tmpfs /run
mkdir -p "$work/upper" "$work/lower"
for folder in /etc /usr/bin /usr/lib /var/lib; do
    name=$(echo "$folder" | tr / _)
    mkdir -p "$work/space/$name/upper" "$work/space/$name/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$work/space/$name/upper,workdir=$work/space/$name/work" "$folder"
done
grep -q '^homeport:' /etc/passwd || {
    echo 'homeport:x:990:990::/var/lib/homeport:/bin/false' >>/etc/passwd
    echo 'homeport:x:990:' >>/etc/group
}
install -m 0755 "$AGENT" /usr/bin/homeport-agent
install -D -m 0755 "$DIST/sysvinit/homeport-agent" /etc/init.d/homeport-agent
script=/etc/init.d/homeport-agent

wait_for() { # description, seconds, command...
    what=$1 left=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "$what: not within the limit"; exit 1; }
        sleep 1
    done
}
agent() { pgrep -u homeport -f '^/usr/bin/homeport-agent run' >/dev/null; }
no_agent() { ! agent; }

if $script status >/dev/null; then echo "status: it runs before it was started"; exit 1; fi
$script start
wait_for "the agent runs as user homeport" 60 agent
$script status >/dev/null || { echo "status: it does not run after it was started"; exit 1; }
[ "$(stat -c '%U %a' /var/lib/homeport)" = "homeport 700" ] || { echo "state: wrong owner or mode"; exit 1; }
[ "$(stat -c '%U %a' /run/homeport)" = "homeport 750" ] || { echo "run folder: wrong owner or mode"; exit 1; }
$script start
[ "$(pgrep -u homeport -f '^/usr/bin/homeport-agent run' | wc -l)" = 1 ] || { echo "start: twice is not once"; exit 1; }
pkill -KILL -u homeport -f '^/usr/bin/homeport-agent run'
wait_for "a killed agent is started again" 60 agent
$script stop
wait_for "the agent is stopped" 60 no_agent
if $script status >/dev/null; then echo "status: it runs after it was stopped"; exit 1; fi
$script stop
"""


def findings(agent: Path) -> list[str]:
    if os.geteuid() != 0:
        return ["the init script is started for real, which needs root"]
    found = []
    for name in ("Debian", "busybox"):
        # On a tmpfs: overlays do not nest, and a container's disk may be one.
        with tempfile.TemporaryDirectory(prefix="homeport-init-", dir="/dev/shm") as work:
            environment = os.environ | {"AGENT": str(agent), "DIST": str(DIST)}
            search = f"{_busybox(Path(work))}:" if name == "busybox" else ""
            environment["FIRST_PROGRAMS"] = search
            apart = ["unshare", "--mount", "--propagation=unchanged", "--pid", "--fork", "--mount-proc", "--kill-child"]
            command = [REPOSITORY / "qemu/toolbox", *apart, "sh", "-c", _SCENARIO, "sh", work]
            result = subprocess.run(command, env=environment, text=True, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
            if result.returncode:
                found += [f"with {name}'s start-stop-daemon: {line}" for line in result.stdout.splitlines() or ["failed"]]
    return found


def _busybox(work: Path) -> Path:
    """A folder with the toolbox' busybox under the names of the programs that devices have from it."""
    folder = work / "busybox"
    folder.mkdir()
    for applet in ("sh", "start-stop-daemon", "sleep", "mkdir", "chown", "chmod", "rm", "cat"):
        (folder / applet).symlink_to("/usr/bin/busybox")
    return folder
