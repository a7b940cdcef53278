SUMMARY = "Stands in for every target recipe that the layer's recipes depend on"
LICENSE = "MIT"
INHIBIT_DEFAULT_DEPS = "1"
PATCHDEPENDENCY = ""
EXCLUDE_FROM_WORLD = "1"
PROVIDES = " \
    base-files \
    binutils-cross-${TARGET_ARCH} \
    gcc-cross-${TARGET_ARCH} \
    glibc \
    libgcc \
    base-passwd \
    initscripts \
    libstd-rs \
    shadow \
    shadow-sysroot \
    update-rc.d \
    virtual/${HOST_PREFIX}binutils \
    virtual/${HOST_PREFIX}compilerlibs \
    virtual/${HOST_PREFIX}gcc \
    virtual/compilerlibs \
    virtual/cross-cc \
    virtual/cross-binutils \
    virtual/libc \
"
RPROVIDES:${PN} = "base-files base-passwd e2fsprogs-e2fsck shadow update-rc.d"
ALLOW_EMPTY:${PN} = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
