#!/bin/sh
# Makes the disk image with two slots, and the signed bundle that updates them.
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/facts.sh"
certificate=$(file_option SIGNER_CERTIFICATE)
key=$(file_option SIGNER_KEY)

# shellcheck source=/dev/null
. "$BR2_EXTERNAL_HOMEPORT_PATH/board/$BOOTLOADER/boot-files.sh"
support/scripts/genimage.sh -c "$BOARD/genimage.cfg"

bundle=$BINARIES_DIR/$COMPATIBLE-$VERSION.raucb
content=$(mktemp -d)
trap 'rm -rf "$content"' EXIT
# RAUC looks for the name, and writes a slot of type ext4 only from a file that is called so.
ln "$(readlink -f "$BINARIES_DIR/rootfs.ext4")" "$content/rootfs.ext4" 2>/dev/null ||
	cp --sparse=always "$BINARIES_DIR/rootfs.ext4" "$content/rootfs.ext4"
# The index lets a device fetch only the blocks that changed, and small blocks keep small what is fetched for each.
cat >"$content/manifest.raucm" <<MANIFEST
[update]
compatible=$COMPATIBLE
version=$VERSION

[bundle]
format=verity

[image.rootfs]
filename=rootfs.ext4
adaptive=block-hash-index
MANIFEST
rm -f "$bundle"
rauc bundle --cert="$certificate" --key="$key" --keyring="$KEYRING" --mksquashfs-args="-comp zstd -b 64k" \
	"$content" "$bundle"
echo "homeport: $bundle, and the disk image $BINARIES_DIR/disk.img"
