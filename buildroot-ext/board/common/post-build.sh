#!/bin/sh
# Makes the root file system a slot: RAUC's configuration and keyring, the version, where the data is.
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/facts.sh"

if grep -q 'PRIVATE KEY' "$KEYRING"; then
	die "BR2_HOMEPORT_KEYRING: $KEYRING contains a private key, which must not get into an image: keep the certificate only"
fi
render "$BR2_EXTERNAL_HOMEPORT_PATH/board/common/system.conf" "$TARGET_DIR/etc/rauc/system.conf"
cp "$KEYRING" "$TARGET_DIR/etc/rauc/keyring.pem"
chmod 0644 "$TARGET_DIR/etc/rauc/keyring.pem"

# This script also runs when Buildroot builds again, on what it wrote before.
sed -i '/^IMAGE_\(ID\|VERSION\)=/d' "$TARGET_DIR/usr/lib/os-release"
printf 'IMAGE_ID=%s\nIMAGE_VERSION=%s\n' "$COMPATIBLE" "$VERSION" >>"$TARGET_DIR/usr/lib/os-release"
sed -i '\:[[:space:]]/\(data\|boot/loader\)[[:space:]]:d' "$TARGET_DIR/etc/fstab"
# Not 2 in the last column: what the init system would run only preens, and preening gives up on a torn superblock.
printf '%s\t/data\text4\tnoatime,nosuid,nodev\t0\t0\n' "$DATA" >>"$TARGET_DIR/etc/fstab"
if grep -q '^BR2_INIT_SYSTEMD=y' "$BR2_CONFIG"; then
	mkdir -p "$TARGET_DIR/etc/systemd/system/data.mount.d"
	repair="homeport-fsck@$(echo "${DATA#/}" | sed -e 's/-/\\x2d/g' -e 's:/:-:g').service"
	printf '[Unit]\nWants=%s\nAfter=%s\n' "$repair" "$repair" >"$TARGET_DIR/etc/systemd/system/data.mount.d/repair.conf"
fi
if [ "$BOOTLOADER" = grub ]; then
	# What RAUC writes here must be on the disk before the next reset.
	printf '%s2\t/boot/loader\tvfat\tsync,noatime,umask=022\t0\t0\n' "$DEVICE" >>"$TARGET_DIR/etc/fstab"
	# The first stage goes to the start of the disk; on the device, only grub-editenv is of use.
	if [ -f "$TARGET_DIR/lib/grub/i386-pc/boot.img" ]; then
		cp "$TARGET_DIR/lib/grub/i386-pc/boot.img" "$BINARIES_DIR/"
		rm -rf "$TARGET_DIR/lib/grub" "$TARGET_DIR/boot/grub"
	fi
fi

# The boot scripts load a kernel and an initramfs from the slot. The drivers that reach the disk are in the kernel, so the
# initramfs is an empty archive, and the kernel mounts root= itself.
for kernel in bzImage zImage; do
	if [ -f "$TARGET_DIR/boot/$kernel" ]; then
		mv "$TARGET_DIR/boot/$kernel" "$TARGET_DIR/boot/vmlinuz"
	fi
done
[ -f "$TARGET_DIR/boot/vmlinuz" ] || die "no kernel in the slot: set BR2_LINUX_KERNEL_INSTALL_TARGET"
cpio --quiet --create --format=newc --reproducible </dev/null >"$TARGET_DIR/boot/initrd"
if [ "$BOOTLOADER" = selector ]; then
	# The rest of the kernel's command line is the selector's: root= and rauc.slot=.
	echo "console=$CONSOLE $ARGUMENTS" >"$TARGET_DIR/boot/cmdline"
fi
