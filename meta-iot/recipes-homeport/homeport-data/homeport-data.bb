SUMMARY = "The data partition, and what of it the agent and RAUC use"
DESCRIPTION = "Mounts the partition that survives updates at /data, the agent's state on it, and the bootloader's \
environment where RAUC writes it."
SECTION = "base"
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"
LIC_FILES_CHKSUM = "\
    file://${HOMEPORT_LAYERDIR}/LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://${HOMEPORT_LAYERDIR}/LICENSE-MIT;md5=457be7b7e1298ebfa73d7d1c790c3311 \
"

SRC_URI = "\
    file://boot-loader.mount \
    file://data.mount \
    file://homeport-data.conf \
    file://var-lib-homeport.mount \
"

S = "${UNPACKDIR}"

inherit features_check systemd

REQUIRED_DISTRO_FEATURES = "systemd"

INHIBIT_DEFAULT_DEPS = "1"

PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "data.mount var-lib-homeport.mount ${@'boot-loader.mount' if d.getVar('HOMEPORT_LOADER_DEVICE') else ''}"

# The device as a part of units' names, as systemd-escape --path prints it.
def homeport_unit_name(device):
    import re
    escaped = lambda found: '\\x%02x' % ord(found.group())
    return '-'.join(re.sub('[^A-Za-z0-9:_.]', escaped, part) for part in device.strip('/').split('/'))

# With each backslash twice, for sed.
HOMEPORT_DATA_UNIT = "${@homeport_unit_name(d.getVar('HOMEPORT_DATA_DEVICE')).replace('\\', '\\\\')}"

do_install() {
    install -d ${D}/data ${D}${systemd_system_unitdir}
    for unit in ${SYSTEMD_SERVICE:${PN}}; do
        sed -e 's|@DATA@|${HOMEPORT_DATA_DEVICE}|' -e 's|@DATA_UNIT@|${HOMEPORT_DATA_UNIT}|' \
            -e 's|@LOADER@|${HOMEPORT_LOADER_DEVICE}|' ${S}/$unit > ${D}${systemd_system_unitdir}/$unit
    done
    if [ -n "${HOMEPORT_LOADER_DEVICE}" ]; then
        install -d ${D}/boot/loader
    fi
    install -D -m 0644 ${S}/homeport-data.conf ${D}${nonarch_libdir}/tmpfiles.d/homeport-data.conf
}

FILES:${PN} += "/boot /data ${nonarch_libdir}/tmpfiles.d ${systemd_system_unitdir}"

RDEPENDS:${PN} = "e2fsprogs-e2fsck homeport-agent"
