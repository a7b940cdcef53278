SUMMARY = "Homeport's device agent"
DESCRIPTION = "Keeps a device reachable, observable and up to date: pairs it with its server, sends telemetry, and \
drives RAUC's A/B updates. An update is done when the new system has booted, is healthy and was confirmed."
SECTION = "net"
# The agent's own, and what the crates that are linked into it add. `./just bsp-lint` compares.
LICENSE = "(Apache-2.0 ${HOMEPORT_OR} MIT) ${HOMEPORT_AND} Apache-2.0 ${HOMEPORT_AND} MIT ${HOMEPORT_AND} ISC ${HOMEPORT_AND} BSD-3-Clause"
HOMEPORT_MEMBERS = "protocol system ota agent"

require recipes-homeport/homeport-source.inc
require ${BPN}-crates.inc

inherit systemd update-rc.d useradd

# One entry for each cargo feature, of the same name, and nothing else. `./just bsp-lint` compares.
PACKAGECONFIG ??= ""

CARGO_BUILD_FLAGS:append = " --package=homeport-agent --no-default-features --features=${@','.join(d.getVar('PACKAGECONFIG').split())}"

# The profile that ships: small, and aborting instead of unwinding.
BUILD_MODE = "--profile=device"
BUILD_DIR = "device"
# A tenth of the room, which the linker for ARM does not know yet.
RUSTFLAGS:append:x86:libc-glibc = " -Clink-arg=-Wl,-z,pack-relative-relocs"
RUSTFLAGS:append:x86-64:libc-glibc = " -Clink-arg=-Wl,-z,pack-relative-relocs"
# A program that aborts needs no tables for unwinding: agent/build.rs says more.
export HOMEPORT_UNWIND_TABLES = "discard"
# Symbols go into the -dbg package.
export CARGO_PROFILE_DEVICE_STRIP = "none"

SYSTEMD_SERVICE:${PN} = "homeport-agent.service homeport-boot-check.service homeport-reboot.path"

INITSCRIPT_NAME = "homeport-agent"
# Last: the boot check vouches for what was started before.
INITSCRIPT_PARAMS = "start 99 2 3 4 5 . stop 01 0 1 6 ."

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir ${localstatedir}/lib/homeport --shell /sbin/nologin homeport"

do_install() {
    DESTDIR=${D} sh ${S}/agent/dist/install.sh ${B}/target/${CARGO_TARGET_SUBDIR}/homeport-agent
    # Units are enabled by their package.
    rm -r ${D}${sysconfdir}/systemd
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'false', 'true', d)}; then
        rm -r ${D}${nonarch_libdir}/systemd ${D}${nonarch_libdir}/tmpfiles.d ${D}${nonarch_libdir}/sysusers.d
    fi
    if ${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'true', 'false', d)}; then
        install -D -m 0755 ${S}/agent/dist/sysvinit/homeport-agent ${D}${INIT_D_DIR}/homeport-agent
    fi
    install -d ${D}${localstatedir}/lib/homeport
    chown homeport:homeport ${D}${localstatedir}/lib/homeport
    chmod 0700 ${D}${localstatedir}/lib/homeport
}

FILES:${PN} += "\
    ${datadir}/dbus-1/system.d \
    ${nonarch_libdir}/homeport \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${systemd_system_unitdir} \
"
FILES:${PN}-dev += "${datadir}/dbus-1/interfaces"

CONFFILES:${PN} = "${sysconfdir}/dbus-1/system.d/zz-homeport-rauc.conf"

RDEPENDS:${PN} += "${@bb.utils.filter('DISTRO_FEATURES', 'rauc', d)}"
RRECOMMENDS:${PN} += "homeport-config"
# With systemd it waits for boot-complete.target, and so for the agent's boot check. Its init script waits for nothing
# and would mark every slot good, whatever the boot check says.
RCONFLICTS:${PN} += "${@bb.utils.contains('DISTRO_FEATURES', 'systemd', '', 'rauc-mark-good', d)}"
