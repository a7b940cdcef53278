SUMMARY = "EFI partition with GRUB that chooses between two slots"
DESCRIPTION = "The image of a FAT partition: GRUB, the script that counts the tries of a slot, and the environment that \
RAUC writes. And for the slots what keeps that environment readable when the power fails while it is written."
SECTION = "bootloaders"
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"
LIC_FILES_CHKSUM = "\
    file://${HOMEPORT_LAYERDIR}/LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://${HOMEPORT_LAYERDIR}/LICENSE-MIT;md5=457be7b7e1298ebfa73d7d1c790c3311 \
"

DEPENDS = "dosfstools-native mtools-native"

# The files of the reference boards, which every change of Homeport runs in QEMU.
SRC_URI = "file://qemu/bootloaders/grub"

S = "${UNPACKDIR}/qemu/bootloaders/grub"
B = "${WORKDIR}/build"

inherit deploy features_check systemd

REQUIRED_DISTRO_FEATURES = "systemd"

# They are looked up in the checkout that the layer lies in.
# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext
FILESEXTRAPATHS:prepend := "${HOMEPORT_SOURCE}:"

# nooelint: oelint.file.requirenotfound
require conf/image-uefi.conf

INHIBIT_DEFAULT_DEPS = "1"

PACKAGE_ARCH = "${MACHINE_ARCH}"
COMPATIBLE_HOST = "(i.86|x86_64).*-linux"

HOMEPORT_KERNEL_CONSOLE ??= "ttyS0,115200"

SYSTEMD_SERVICE:${PN} = "homeport-grubenv.service"

# GRUB's environment block: a first line, variables, and # up to 1024 bytes, as grub-editenv makes it.
# Slot B is empty in the factory.
python do_compile() {
    block = '# GRUB Environment Block\nORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n'
    for name in ('grubenv', 'grubenv.copy'):
        with open(d.expand('${B}/' + name), 'w') as environment:
            environment.write(block.ljust(1024, '#'))
}
do_compile[cleandirs] = "${B}"

do_install() {
    install -d ${D}${nonarch_libdir}/homeport ${D}${systemd_system_unitdir}
    cp -R --no-dereference --preserve=mode,links ${S}/image/usr/lib/homeport/grub ${D}${nonarch_libdir}/homeport/
    cp -R --no-dereference --preserve=mode,links ${S}/image/usr/lib/systemd/system/. ${D}${systemd_system_unitdir}/
}

# The numbers and names of the partitions are those of homeport-grub.wks.in.
do_deploy() {
    sed -e 's|@TERMINALS@|serial console|' -e 's|@LOADER@|1|' \
        -e 's|@SLOT_A@|2|' -e 's|@ROOT_A@|PARTLABEL=slot-a|' -e 's|@SLOT_B@|3|' -e 's|@ROOT_B@|PARTLABEL=slot-b|' \
        -e 's|@KERNEL@|${KERNEL_IMAGETYPE}|' -e 's|@ARGUMENTS@|console=${HOMEPORT_KERNEL_CONSOLE} ${HOMEPORT_KERNEL_ARGS}|' \
        ${S}/grub.cfg > ${B}/grub.cfg
    if grep -n '@[A-Z_]*@' ${B}/grub.cfg; then
        bbfatal "these placeholders of grub.cfg are not known"
    fi
    rm -f ${B}/boot.vfat
    # KiB: room for GRUB twice, so that it can be replaced.
    mkfs.vfat -n BOOT -C ${B}/boot.vfat 8192
    mmd -i ${B}/boot.vfat ::/EFI ::/EFI/BOOT
    mcopy -i ${B}/boot.vfat ${DEPLOY_DIR_IMAGE}/grub-efi-${EFI_BOOT_IMAGE} ::/EFI/BOOT/${EFI_BOOT_IMAGE}
    mcopy -i ${B}/boot.vfat ${B}/grub.cfg ${B}/grubenv ${B}/grubenv.copy ::/EFI/BOOT
    install -m 0644 ${B}/boot.vfat ${DEPLOYDIR}/homeport-boot.vfat
}
do_deploy[depends] += "grub-efi:do_deploy"
addtask deploy after do_compile before do_build

FILES:${PN} += "${nonarch_libdir}/homeport ${systemd_system_unitdir}"

RDEPENDS:${PN} = "grub-editenv"
