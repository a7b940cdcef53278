# shellcheck shell=sh
# Sourced by post-image.sh: GRUB for BIOS machines, on a GPT disk.

# In genimage.cfg, the partition "bios" starts at 1 MiB.
BIOS_SECTOR=2048
# Offsets in GRUB's boot sector and in the first sector of its core image (boot.S and diskboot.S of GRUB), where
# grub-install would write which sector comes next.
BOOT_KERNEL_SECTOR=92
BOOT_DRIVE_CHECK=102
DISKBOOT_FIRST_BLOCK=500

# The lower two bytes of a sector number; the others are 0 in GRUB's files, but for the one that is written over.
write_sector() { # number file offset
	# shellcheck disable=SC2059 # it is a format
	printf "\\$(printf '%o' $(($1 % 256)))\\$(printf '%o' $(($1 / 256)))\\0\\0\\0\\0\\0\\0" |
		dd of="$2" bs=1 seek="$3" conv=notrunc status=none
}

[ -f "$BINARIES_DIR/boot.img" ] || die "no GRUB: set BR2_TARGET_GRUB2_INSTALL_TOOLS"
cp "$BINARIES_DIR/boot.img" "$BINARIES_DIR/grub-boot-sector.img"
cp "$BINARIES_DIR/grub.img" "$BINARIES_DIR/grub-core.img"
write_sector "$BIOS_SECTOR" "$BINARIES_DIR/grub-boot-sector.img" "$BOOT_KERNEL_SECTOR"
# Two "no operation": the BIOS is believed when it says which drive it started.
printf '\220\220' | dd of="$BINARIES_DIR/grub-boot-sector.img" bs=1 seek="$BOOT_DRIVE_CHECK" conv=notrunc status=none
write_sector $((BIOS_SECTOR + 1)) "$BINARIES_DIR/grub-core.img" "$DISKBOOT_FIRST_BLOCK"

render "$LOADER/grub.cfg" "$BINARIES_DIR/grub.cfg"
environment=$BINARIES_DIR/grubenv
rm -f "$environment"
grub-editenv "$environment" create
# Slot B is empty in the factory.
grub-editenv "$environment" set 'ORDER=A B' A_OK=1 B_OK=0 A_TRY=0 B_TRY=0
cp "$environment" "$environment.copy"
