# An image for one of two slots, and the disk with both that a device is flashed with:
#
#   inherit core-image homeport-image-ab
#
# Needs DISTRO_FEATURES "rauc homeport" and INIT_MANAGER "systemd". conf/homeport-ab.inc has the settings.

inherit features_check

REQUIRED_DISTRO_FEATURES += "homeport rauc systemd"

# nooelint: oelint.vars.outofcontext
IMAGE_FEATURES += "read-only-rootfs"
IMAGE_INSTALL:append = " homeport-agent homeport-data rauc kernel-image kernel-modules ${HOMEPORT_LOADER_RECIPE}"

IMAGE_FSTYPES = "ext4 wic wic.bmap"
# The disk holds the very image that a bundle holds.
# nooelint: oelint.vars.specific
IMAGE_TYPEDEP:wic = "ext4"

IMAGE_ROOTFS_ALIGNMENT = "4"
# Adaptive updates compare blocks of 4 KiB. With a fixed hash seed equal folders make equal blocks.
# nooelint: oelint.vars.specific
EXTRA_IMAGECMD:ext4 = "-i 4096 -b 4096 -E hash_seed=5b1c1d1e-7f0a-4c52-9d3b-0a8f5d0c6a11"

WKS_FILE = "homeport-${HOMEPORT_BOOTLOADER}.wks.in"
# nooelint: oelint.vars.inconspaces
WKS_SEARCH_PATH:append = ":${HOMEPORT_LAYERDIR}/files/wic"
# Deploys what the bootloader's partition holds; its package is what a slot needs to write the bootloader's environment.
HOMEPORT_LOADER_RECIPE ??= "homeport-${HOMEPORT_BOOTLOADER}"
do_image_wic[depends] += "${HOMEPORT_LOADER_RECIPE}:do_deploy"

# A system that did not come in a bundle is known by this version.
homeport_image_version() {
    sed -i '/^IMAGE_VERSION=/d' ${IMAGE_ROOTFS}${nonarch_libdir}/os-release
    echo 'IMAGE_VERSION=${HOMEPORT_VERSION}' >> ${IMAGE_ROOTFS}${nonarch_libdir}/os-release
}
ROOTFS_POSTPROCESS_COMMAND += "homeport_image_version"
