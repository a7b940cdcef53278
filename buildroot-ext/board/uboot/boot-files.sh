# shellcheck shell=sh
# Sourced by post-image.sh: U-Boot's boot script, and the environment that RAUC writes.

render "$LOADER/boot.cmd" "$BINARIES_DIR/boot.cmd"
mkimage -A arm -O linux -T script -C none -n boot -d "$BINARIES_DIR/boot.cmd" "$BINARIES_DIR/boot.scr" >/dev/null
# shellcheck source=/dev/null
. "$BR2_EXTERNAL_HOMEPORT_PATH/board/common/environment.sh"
