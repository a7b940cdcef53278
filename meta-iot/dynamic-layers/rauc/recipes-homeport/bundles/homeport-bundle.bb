SUMMARY = "Signed bundle that updates a device to homeport-image"
DESCRIPTION = "A RAUC bundle of the image that HOMEPORT_BUNDLE_IMAGE names. It is adaptive: a device fetches the blocks \
that it does not have already."
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"

SRC_URI = ""

inherit bundle

# The image of which the bundle is made. One that inherits homeport-image-ab.
HOMEPORT_BUNDLE_IMAGE ??= "homeport-image"

RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_COMPATIBLE = "${HOMEPORT_COMPATIBLE}"
RAUC_BUNDLE_VERSION = "${HOMEPORT_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "${HOMEPORT_BUNDLE_IMAGE} for ${MACHINE}"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "${HOMEPORT_BUNDLE_IMAGE}"
RAUC_SLOT_rootfs[fstype] = "ext4"
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"
# Blocks of 64 KiB: a device that needs one block of the image fetches no more than that.
BUNDLE_ARGS += '--mksquashfs-args="-comp zstd -Xcompression-level 15 -b 64k"'

python homeport_need_signing_key() {
    for name in 'RAUC_KEY_FILE', 'RAUC_CERT_FILE':
        path = d.getVar(name)
        # A PKCS#11 address is a key, too.
        if not path or not path.startswith('pkcs11:') and not os.path.exists(path):
            bb.fatal('%s = "%s": bundles are signed, and there is no default key. Make keys with '
                     'meta-iot/scripts/make-signing-keys FOLDER, and put into local.conf or your distro the three lines '
                     'that it prints.' % (name, path or ''))
    problem = homeport_keyring_problem(d)
    if problem:
        bb.fatal(problem)
}
do_fetch[prefuncs] += "homeport_need_signing_key"
