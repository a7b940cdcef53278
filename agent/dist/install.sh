#!/bin/sh
# Installs the agent and its files below $DESTDIR and enables its units, without a running systemd:
#   DESTDIR=/path/to/root agent/dist/install.sh path/to/homeport-agent
set -eu

if [ $# -ne 1 ] || [ ! -f "$1" ]; then
	echo "usage: DESTDIR=<root> $0 <homeport-agent binary>" >&2
	exit 64
fi
binary=$1
root=${DESTDIR:-}
dist=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

file() { # mode source target
	mkdir -p "$root$(dirname "$3")"
	cp "$2" "$root$3"
	chmod "$1" "$root$3"
}

enable_unit() { # unit directory-of-links...
	unit=$1
	shift
	for links; do
		mkdir -p "$root/etc/systemd/system/$links"
		ln -sf "/usr/lib/systemd/system/$unit" "$root/etc/systemd/system/$links/$unit"
	done
}

file 0755 "$binary" /usr/bin/homeport-agent
for unit in "$dist"/systemd/*; do
	file 0644 "$unit" "/usr/lib/systemd/system/${unit##*/}"
done
file 0644 "$dist/dbus/io.homeport.Agent1.conf" /usr/share/dbus-1/system.d/io.homeport.Agent1.conf
file 0644 "$dist/dbus/io.homeport.Agent1.xml" /usr/share/dbus-1/interfaces/io.homeport.Agent1.xml
# Not beside RAUC's policy: it has to be read after it.
file 0644 "$dist/dbus/zz-homeport-rauc.conf" /etc/dbus-1/system.d/zz-homeport-rauc.conf
file 0644 "$dist/sysusers.d/homeport.conf" /usr/lib/sysusers.d/homeport.conf
file 0644 "$dist/tmpfiles.d/homeport.conf" /usr/lib/tmpfiles.d/homeport.conf
file 0644 "$dist/agent.toml" /usr/lib/homeport/agent.toml
file 0644 "$dist/man/homeport-agent.8" /usr/share/man/man8/homeport-agent.8
file 0644 "$dist/man/homeport-agent.toml.5" /usr/share/man/man5/homeport-agent.toml.5
mkdir -p "$root/usr/lib/homeport/agent.toml.d" "$root/usr/lib/homeport/health.d" \
	"$root/etc/homeport/agent.toml.d" "$root/etc/homeport/health.d"

enable_unit homeport-agent.service multi-user.target.wants
enable_unit homeport-boot-check.service multi-user.target.wants boot-complete.target.requires
enable_unit homeport-reboot.path paths.target.wants
