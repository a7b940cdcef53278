SUMMARY = "Stands in for every native recipe that the layer's recipes depend on"
LICENSE = "MIT"
inherit native
INHIBIT_DEFAULT_DEPS = "1"
# quilt-native is this very recipe.
PATCHDEPENDENCY = ""
EXCLUDE_FROM_WORLD = "1"
PROVIDES = " \
    cargo-native \
    dwarfsrcfiles-native \
    elfutils-native \
    file-native \
    opkg-utils-native \
    patch-native \
    patch-replacement-native \
    gzip-native \
    bzip2-native \
    lz4-native \
    base-passwd-native \
    dpkg-native \
    binutils-native \
    initscripts-native \
    glibc-locale-native \
    cmake-native \
    prelink-native \
    debugedit-native \
    kern-tools-native \
    pigz-native \
    pseudo-native \
    python3-native \
    quilt-native \
    rpm-native \
    rust-native \
    shadow-native \
    systemd-systemctl-native \
    update-rc.d-native \
    virtual/fakeroot-native \
    xz-native \
    zstd-native \
"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
