SUMMARY = "What this product tells the Homeport agent"
DESCRIPTION = "The image's fragments of the agent's configuration, and the product's health checks. Set HOMEPORT_CONFIG \
in local.conf or in a distro configuration, or add files in a bbappend: every .toml becomes a fragment, everything in \
HOMEPORT_HEALTH_CHECKS a program that the boot check runs."
SECTION = "net"
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"
LIC_FILES_CHKSUM = "\
    file://${HOMEPORT_LAYERDIR}/LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://${HOMEPORT_LAYERDIR}/LICENSE-MIT;md5=457be7b7e1298ebfa73d7d1c790c3311 \
"

SRC_URI = ""

S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

inherit allarch

INHIBIT_DEFAULT_DEPS = "1"

# Keys of docs/usage/agent-configuration.md as flags, for example
#   HOMEPORT_CONFIG[server.url] = "https://fleet.example.com:8443"
#   HOMEPORT_CONFIG[telemetry.mounts] = '["/", "/data"]'
# Lists, numbers and booleans are written as they are, everything else as a text.
HOMEPORT_CONFIG ??= ""
HOMEPORT_CONFIG[doc] = "Flags are keys of the agent's configuration, see docs/usage/agent-configuration.md"

# Programs of SRC_URI that go to /usr/lib/homeport/health.d, in the order of their names.
HOMEPORT_HEALTH_CHECKS ??= ""
HOMEPORT_HEALTH_CHECKS[doc] = "Files of SRC_URI that the agent's boot check runs: 0 healthy, 75 not yet, else broken"

# Every key of the agent, so that a misspelt one is found here and not on the device. `./just bsp-lint` compares.
HOMEPORT_CONFIG_KEYS = "\
    link.backoff-max \
    link.backoff-min \
    link.connect-timeout \
    link.keep-alive \
    log \
    ota.allow-downgrade \
    ota.cache-limit \
    ota.ignore-units \
    ota.trial-deadline \
    pairing.token-file \
    queue.age-limit \
    queue.flush-interval \
    queue.size-limit \
    run-dir \
    server.mqtt \
    server.url \
    state-dir \
    telemetry.ignore-interfaces \
    telemetry.interfaces \
    telemetry.interval \
    telemetry.mounts \
    telemetry.sources \
"

def homeport_toml(d):
    """The fragment that HOMEPORT_CONFIG stands for."""
    import json
    import re
    flags = d.getVarFlags('HOMEPORT_CONFIG') or {}
    known = d.getVar('HOMEPORT_CONFIG_KEYS').split()
    lines = []
    # Dotted keys without sections: keys that have no dot come first, as TOML wants it.
    for key in sorted((key for key in flags if key != 'doc'), key=lambda key: ('.' in key, key)):
        if key not in known:
            bb.fatal('HOMEPORT_CONFIG[%s]: there is no such key. There are: %s' % (key, ', '.join(known)))
        value = d.getVarFlag('HOMEPORT_CONFIG', key).strip()
        if not re.fullmatch(r'\[.*\]|[0-9]+|true|false', value, re.DOTALL):
            value = json.dumps(value)
        lines.append('%s = %s\n' % (key, value))
    return ''.join(lines)

# A task's signature does not see flags.
HOMEPORT_TOML = "${@homeport_toml(d)}"
HOMEPORT_TOML[vardepvalue] = "${HOMEPORT_TOML}"

python do_compile() {
    text = d.getVar('HOMEPORT_TOML')
    with open(d.expand('${B}/50-bsp.toml'), 'w') as fragment:
        fragment.write('# Written by the recipe homeport-config, from HOMEPORT_CONFIG.\n' + text)
}
do_compile[cleandirs] = "${B}"

do_install() {
    install -d ${D}${nonarch_libdir}/homeport/agent.toml.d ${D}${nonarch_libdir}/homeport/health.d
    install -m 0644 ${B}/50-bsp.toml ${D}${nonarch_libdir}/homeport/agent.toml.d
    for fragment in ${S}/*.toml; do
        [ ! -e $fragment ] || install -m 0644 $fragment ${D}${nonarch_libdir}/homeport/agent.toml.d
    done
    for check in ${HOMEPORT_HEALTH_CHECKS}; do
        install -m 0755 ${S}/$check ${D}${nonarch_libdir}/homeport/health.d
    done
}

FILES:${PN} += "${nonarch_libdir}/homeport"
