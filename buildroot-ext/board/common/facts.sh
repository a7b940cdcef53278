# shellcheck shell=sh disable=SC2034 # the variables are for the scripts that source this
# Sourced by post-build.sh and post-image.sh: reads the board's facts and this build's options.
# Buildroot sets BR2_CONFIG, BR2_EXTERNAL_HOMEPORT_PATH and BINARIES_DIR.

# Every key of board.conf; board/common/README.md says what each means.
COMPATIBLE='' BOOTLOADER='' DEVICE='' FIRST_SLOT='' CONSOLE=''

die() {
	echo "homeport: $*" >&2
	exit 1
}

BOARD=${2:-}
[ -f "$BOARD/board.conf" ] || die "BR2_ROOTFS_POST_SCRIPT_ARGS has to be the folder of a board, with board.conf in it"
# shellcheck source=/dev/null
. "$BOARD/board.conf"
for key in COMPATIBLE BOOTLOADER DEVICE FIRST_SLOT CONSOLE; do
	eval "[ -n \"\$$key\" ]" || die "$BOARD/board.conf: $key is not set"
done

case $BOOTLOADER in
grub) RAUC_BOOTLOADER='grub\ngrubenv=/boot/loader/grubenv' ;;
# The selector keeps U-Boot's environment, so that RAUC need not know about it.
uboot | selector) RAUC_BOOTLOADER=uboot ;;
*) die "$BOARD/board.conf: no BOOTLOADER $BOOTLOADER: there are grub, uboot, selector" ;;
esac
# Numbers of partitions.
SLOT_A=$FIRST_SLOT SLOT_B=$((FIRST_SLOT + 1)) DATA=$DEVICE$((FIRST_SLOT + 2))

# Of the kernel's command line, what all boards have.
ARGUMENTS='panic=5 quiet loglevel=4'

# The boot scripts of the reference boards, which every change of Homeport runs in QEMU.
LOADER=$BR2_EXTERNAL_HOMEPORT_PATH/../qemu/bootloaders/$BOOTLOADER
[ -d "$LOADER" ] || die "$LOADER is missing: buildroot-ext has to lie in a checkout of Homeport"

option() { # name without BR2_HOMEPORT_
	sed -n "s/^BR2_HOMEPORT_$1=\"\(.*\)\"\$/\1/p" "$BR2_CONFIG"
}

# The value of an option that names a file. A PKCS#11 URI is left to RAUC.
file_option() { # name without BR2_HOMEPORT_
	value=$(option "$1")
	case $value in
	pkcs11:*) ;;
	/*) [ -f "$value" ] || die "BR2_HOMEPORT_$1: there is no $value" ;;
	*) die "BR2_HOMEPORT_$1 has to be an absolute path: '$value'" ;;
	esac
	echo "$value"
}

# Replaces the placeholders of a template; one that is not known here is an error and not a surprise on the device.
render() { # source target
	sed -e "s|@DEVICE@|$DEVICE|g" -e "s|@CONSOLE@|$CONSOLE|g" -e "s|@TERMINALS@|serial|g" \
		-e "s|@KERNEL@|vmlinuz|g" -e "s|@ARGUMENTS@|console=$CONSOLE $ARGUMENTS|g" \
		-e "s|@LOADER@|$((SLOT_A - 1))|g" -e "s|@ROOT_A@|$DEVICE$SLOT_A|g" -e "s|@ROOT_B@|$DEVICE$SLOT_B|g" \
		-e "s|@COMPATIBLE@|$COMPATIBLE|g" -e "s|@RAUC_BOOTLOADER@|$RAUC_BOOTLOADER|g" \
		-e "s|@SLOT_A@|$SLOT_A|g" -e "s|@SLOT_B@|$SLOT_B|g" \
		"$1" >"$2"
	if grep -n '@[A-Z_]*@' "$2" >&2; then
		die "$1: these placeholders are not known"
	fi
}

VERSION=${HOMEPORT_IMAGE_VERSION:-$(option IMAGE_VERSION)}
[ -n "$VERSION" ] || die "BR2_HOMEPORT_IMAGE_VERSION is empty"
KEYRING=$(file_option KEYRING)
