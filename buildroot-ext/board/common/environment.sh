# shellcheck shell=sh
# Sourced by the boot-files.sh of U-Boot and of the boot selector: the partition "environment" as it leaves the factory.
# Two copies, as /etc/fw_env.config and the boot script say: a power cut while one is written leaves the other.
COPY_BYTES=0x1000
COPY_2_BLOCK=128 # of 4096 bytes, so at 0x80000

mkenvimage -r -s "$COPY_BYTES" -o "$BINARIES_DIR/environment.bin" "$LOADER/environment.txt"
truncate -s 1M "$BINARIES_DIR/environment.img"
for block in 0 "$COPY_2_BLOCK"; do
	dd if="$BINARIES_DIR/environment.bin" of="$BINARIES_DIR/environment.img" bs=4096 seek="$block" conv=notrunc status=none
done
