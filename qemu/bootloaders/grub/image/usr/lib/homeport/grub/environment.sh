# shellcheck shell=sh
# How GRUB's environment is written so that a power cut leaves the old one or the new one. To be sourced.

# Where RAUC's configuration says that the environment is; RAUC takes the first configuration of these.
rauc_environment() {
    for configuration in /etc/rauc/system.conf /run/rauc/system.conf /usr/lib/rauc/system.conf; do
        if [ -f "$configuration" ]; then
            sed -n 's/^grubenv *= *//p' "$configuration" | grep . && return
            break
        fi
    done
    # RAUC's own default.
    echo /boot/grub/grubenv
}

# Puts the contents of $1 over those of $2. They are all in one sector, which a disk writes whole or not at all. Writing
# the file anew instead, elsewhere on the disk, takes several sectors: a disk that loses its cache may keep the new
# place but not what was written there, and GRUB would find an environment of long ago.
overwrite() {
    if [ "$(stat -c %s "$2" 2>/dev/null)" = "$(stat -c %s "$1")" ]; then
        dd if="$1" of="$2" bs=1024 conv=notrunc,fsync 2>/dev/null
    else
        # There is nothing to lose: it is missing or was cut off.
        cp "$1" "$2.new"
        sync
        mv "$2.new" "$2"
        sync
    fi
}
