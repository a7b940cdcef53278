SUMMARY = "Boot partition with a U-Boot script that chooses between two slots"
DESCRIPTION = "The image of a FAT partition: the script that counts the tries of a slot. U-Boot writes its environment \
beside it, and so does RAUC."
SECTION = "bootloaders"
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"
LIC_FILES_CHKSUM = "\
    file://${HOMEPORT_LAYERDIR}/LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://${HOMEPORT_LAYERDIR}/LICENSE-MIT;md5=457be7b7e1298ebfa73d7d1c790c3311 \
"

DEPENDS = "dosfstools-native mtools-native u-boot-mkimage-native"

SRC_URI = "\
    file://boot.cmd \
    file://fw_env.config \
"

S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

inherit deploy

INHIBIT_DEFAULT_DEPS = "1"

PACKAGE_ARCH = "${MACHINE_ARCH}"
COMPATIBLE_HOST = "arm.*-linux"

HOMEPORT_KERNEL_CONSOLE ??= "ttyAMA0,115200"
# As U-Boot's commands take it: interface and number of the disk with the slots.
HOMEPORT_UBOOT_DISK ??= "virtio 0"

do_compile() {
    sed -e 's|@DISK@|${HOMEPORT_UBOOT_DISK}|' -e 's|@CONSOLE@|${HOMEPORT_KERNEL_CONSOLE}|' \
        -e 's|@ARGUMENTS@|${HOMEPORT_KERNEL_ARGS}|' -e 's|@KERNEL@|${KERNEL_IMAGETYPE}|' ${S}/boot.cmd > ${B}/boot.cmd
    mkimage -A arm -O linux -T script -C none -n homeport -d ${B}/boot.cmd ${B}/boot.scr
}
do_compile[cleandirs] = "${B}"

do_install() {
    install -D -m 0644 ${S}/fw_env.config ${D}${sysconfdir}/fw_env.config
}

do_deploy() {
    rm -f ${B}/boot.vfat
    # KiB
    mkfs.vfat -n BOOT -C ${B}/boot.vfat 4096
    mcopy -i ${B}/boot.vfat ${B}/boot.scr ::/
    install -m 0644 ${B}/boot.vfat ${DEPLOYDIR}/homeport-boot.vfat
}
addtask deploy after do_compile before do_build
