SUMMARY = "Homeport's command line"
DESCRIPTION = "For operators, factories and build servers: logs in, makes pairing tokens, uploads bundles and deploys \
them. Meant for the machine that builds (homeport-cli-native) and for the SDK (nativesdk-homeport-cli)."
SECTION = "net"
# Its own, and what the crates that are linked into it add. `./just bsp-lint` compares.
LICENSE = "(Apache-2.0 ${HOMEPORT_OR} MIT) ${HOMEPORT_AND} Apache-2.0 ${HOMEPORT_AND} MIT ${HOMEPORT_AND} ISC ${HOMEPORT_AND} BSD-3-Clause ${HOMEPORT_AND} Unicode-3.0"
HOMEPORT_MEMBERS = "protocol api cli"

require recipes-homeport/homeport-source.inc
require ${BPN}-crates.inc

CARGO_BUILD_FLAGS:append = " --package=homeport-cli"

do_install:append() {
    install -D -m 0644 ${S}/cli/man/homeport.1 ${D}${mandir}/man1/homeport.1
}

BBCLASSEXTEND = "native nativesdk"
