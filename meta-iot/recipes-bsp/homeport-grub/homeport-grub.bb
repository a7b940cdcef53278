SUMMARY = "EFI partition with GRUB that chooses between two slots"
DESCRIPTION = "The image of a FAT partition: GRUB, the script that counts the tries of a slot, and the environment that \
RAUC writes."
SECTION = "bootloaders"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "\
    file://${HOMEPORT_LAYERDIR}/LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://${HOMEPORT_LAYERDIR}/LICENSE-MIT;md5=457be7b7e1298ebfa73d7d1c790c3311 \
"

DEPENDS = "dosfstools-native mtools-native"

SRC_URI = "file://grub.cfg"

S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

inherit deploy nopackages

# nooelint: oelint.file.requirenotfound
require conf/image-uefi.conf

INHIBIT_DEFAULT_DEPS = "1"

PACKAGE_ARCH = "${MACHINE_ARCH}"
COMPATIBLE_HOST = "(i.86|x86_64).*-linux"

HOMEPORT_KERNEL_CONSOLE ??= "ttyS0,115200"

# GRUB's environment block: a first line, variables, and # up to 1024 bytes, as grub-editenv makes it.
# Slot B is empty in the factory.
python do_compile() {
    block = '# GRUB Environment Block\nORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n'
    with open(d.expand('${B}/grubenv'), 'w') as environment:
        environment.write(block.ljust(1024, '#'))
}
do_compile[cleandirs] = "${B}"

do_deploy() {
    sed -e 's|@CONSOLE@|${HOMEPORT_KERNEL_CONSOLE}|' -e 's|@ARGUMENTS@|${HOMEPORT_KERNEL_ARGS}|' \
        -e 's|@KERNEL@|${KERNEL_IMAGETYPE}|' ${S}/grub.cfg > ${B}/grub.cfg
    rm -f ${B}/boot.vfat
    # KiB: room for GRUB twice, so that it can be replaced.
    mkfs.vfat -n BOOT -C ${B}/boot.vfat 8192
    mmd -i ${B}/boot.vfat ::/EFI ::/EFI/BOOT
    mcopy -i ${B}/boot.vfat ${DEPLOY_DIR_IMAGE}/grub-efi-${EFI_BOOT_IMAGE} ::/EFI/BOOT/${EFI_BOOT_IMAGE}
    mcopy -i ${B}/boot.vfat ${B}/grub.cfg ${B}/grubenv ::/EFI/BOOT
    install -m 0644 ${B}/boot.vfat ${DEPLOYDIR}/homeport-boot.vfat
}
do_deploy[depends] += "grub-efi:do_deploy"
addtask deploy after do_compile before do_build

do_install[noexec] = "1"
