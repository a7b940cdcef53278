# shellcheck shell=sh
# Sourced by post-image.sh: the boot selector, for boards whose bootloader cannot choose between slots. It is an initramfs
# for the same kernel: that bootloader starts the two, and the selector starts the kernel of a slot with kexec.

root=$BINARIES_DIR/selector
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/slot" "$root/sys" "$root/var/lock" "$root/usr"
ln -s usr/lib "$root/lib"

# Copies programs of the target and, in turn, what they are linked to. All libraries go to one folder.
bring() { # path on the target, path in the selector
	[ ! -e "$root$2" ] || return 0
	mkdir -p "$root$(dirname "$2")"
	cp -L "$TARGET_DIR$1" "$root$2"
	for name in $(readelf --dynamic --program-headers "$root$2" |
		sed -n -e 's/.*Shared library: \[\(.*\)\]/\1/p' -e 's/.*program interpreter: .*\/\(.*\)\]/\1/p'); do
		library=/usr/lib/$name
		[ -e "$TARGET_DIR$library" ] || library=/lib/$name
		[ -e "$TARGET_DIR$library" ] || die "$1 needs $name, which is not in the target"
		bring "$library" "/usr/lib/$name"
	done
}

for program in /bin/busybox /usr/sbin/kexec /usr/bin/fw_printenv /usr/bin/fw_setenv; do
	[ -e "$TARGET_DIR$program" ] || die "$program is not in the target: the selector needs BR2_PACKAGE_KEXEC and BR2_PACKAGE_LIBUBOOTENV"
	bring "$program" "$program"
done
cp "$LOADER/init" "$LOADER/slots.sh" "$root/"
chmod 0755 "$root/init"
cp "$TARGET_DIR/etc/fw_env.config" "$root/etc/fw_env.config"
# What fw_printenv and fw_setenv start from when both copies are unreadable.
cp "$LOADER/defaults.txt" "$root/etc/u-boot-initial-env"
printf 'SLOT_A=%s\nSLOT_B=%s\n' "$DEVICE$SLOT_A" "$DEVICE$SLOT_B" >"$root/selector.conf"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) |
	gzip -9 -n >"$BINARIES_DIR/selector.cpio.gz"
rm -rf "$root"

# shellcheck source=/dev/null
. "$BR2_EXTERNAL_HOMEPORT_PATH/board/common/environment.sh"
