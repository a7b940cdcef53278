################################################################################
#
# homeport-agent
#
################################################################################

HOMEPORT_AGENT_SITE = $(call qstrip,$(BR2_PACKAGE_HOMEPORT_AGENT_REPOSITORY))
ifeq ($(HOMEPORT_AGENT_SITE),)
# The recipe and its source are one repository: the commit that is checked out
# is the version, and Cargo.lock holds the checksum of every crate.
HOMEPORT_AGENT_SITE = file://$(abspath $(BR2_EXTERNAL_HOMEPORT_PATH)/..)
HOMEPORT_AGENT_VERSION := $(shell git -C $(BR2_EXTERNAL_HOMEPORT_PATH) rev-parse HEAD 2>/dev/null)
ifeq ($(BR2_PACKAGE_HOMEPORT_AGENT)$(HOMEPORT_AGENT_VERSION)$(BR_BUILDING),yy)
$(error git knows nothing about $(BR2_EXTERNAL_HOMEPORT_PATH): use a git checkout that belongs to you, or set BR2_PACKAGE_HOMEPORT_AGENT_REPOSITORY)
endif
# git refuses to fetch from a clone whose history was cut off.
ifeq ($(BR2_PACKAGE_HOMEPORT_AGENT)$(BR_BUILDING)$(shell git -C $(BR2_EXTERNAL_HOMEPORT_PATH) rev-parse --is-shallow-repository 2>/dev/null),yytrue)
$(error $(BR2_EXTERNAL_HOMEPORT_PATH) is in a shallow clone: run "git fetch --unshallow" in it)
endif
else
HOMEPORT_AGENT_VERSION = $(call qstrip,$(BR2_PACKAGE_HOMEPORT_AGENT_REVISION))
ifeq ($(BR2_PACKAGE_HOMEPORT_AGENT)$(HOMEPORT_AGENT_VERSION)$(BR_BUILDING),yy)
$(error set BR2_PACKAGE_HOMEPORT_AGENT_REVISION to the commit or tag to build)
endif
endif
HOMEPORT_AGENT_SITE_METHOD = git
BR_NO_CHECK_HASH_FOR += $(HOMEPORT_AGENT_SOURCE)
HOMEPORT_AGENT_LICENSE = Apache-2.0 or MIT
HOMEPORT_AGENT_LICENSE_FILES = LICENSE-APACHE LICENSE-MIT
# For programs that talk to the agent: its D-Bus interface.
HOMEPORT_AGENT_INSTALL_STAGING = YES
HOMEPORT_AGENT_SUBDIR = agent

# The profile "device" of Cargo.toml: the infrastructure builds with "release".
# A program that aborts needs no tables for unwinding: agent/build.rs says more.
HOMEPORT_AGENT_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL="z" \
	CARGO_PROFILE_RELEASE_LTO="fat" \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS="1" \
	CARGO_PROFILE_RELEASE_PANIC="abort" \
	HOMEPORT_UNWIND_TABLES="discard"

define HOMEPORT_AGENT_USERS
	homeport -1 homeport -1 * - - - Homeport agent
endef

define HOMEPORT_AGENT_PERMISSIONS
	/var/lib/homeport d 0700 homeport homeport - - - - -
endef

define HOMEPORT_AGENT_INSTALL_STAGING_CMDS
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/dbus/io.homeport.Agent1.xml \
		$(STAGING_DIR)/usr/share/dbus-1/interfaces/io.homeport.Agent1.xml
endef

# RAUC's own policy, in /usr/share, lets everybody install; the one in /etc is
# read later, and restricts it.
define HOMEPORT_AGENT_INSTALL_FILES
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/agent.toml \
		$(TARGET_DIR)/usr/lib/homeport/agent.toml
	$(INSTALL) -d -m 0755 $(TARGET_DIR)/usr/lib/homeport/agent.toml.d \
		$(TARGET_DIR)/usr/lib/homeport/health.d \
		$(TARGET_DIR)/etc/homeport/agent.toml.d \
		$(TARGET_DIR)/etc/homeport/health.d \
		$(TARGET_DIR)/var/lib/homeport
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/dbus/io.homeport.Agent1.conf \
		$(TARGET_DIR)/usr/share/dbus-1/system.d/io.homeport.Agent1.conf
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/dbus/io.homeport.Agent1.xml \
		$(TARGET_DIR)/usr/share/dbus-1/interfaces/io.homeport.Agent1.xml
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/dbus/zz-homeport-rauc.conf \
		$(TARGET_DIR)/etc/dbus-1/system.d/zz-homeport-rauc.conf
endef
HOMEPORT_AGENT_POST_INSTALL_TARGET_HOOKS += HOMEPORT_AGENT_INSTALL_FILES

define HOMEPORT_AGENT_INSTALL_INIT_SYSTEMD
	$(foreach unit,$(wildcard $(@D)/agent/dist/systemd/*), \
		$(INSTALL) -D -m 0644 $(unit) \
			$(TARGET_DIR)/usr/lib/systemd/system/$(notdir $(unit))
	)
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/sysusers.d/homeport.conf \
		$(TARGET_DIR)/usr/lib/sysusers.d/homeport.conf
	$(INSTALL) -D -m 0644 $(@D)/agent/dist/tmpfiles.d/homeport.conf \
		$(TARGET_DIR)/usr/lib/tmpfiles.d/homeport.conf
endef

# Last, because its boot check vouches for everything that was started before.
define HOMEPORT_AGENT_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/agent/dist/sysvinit/homeport-agent \
		$(TARGET_DIR)/etc/init.d/homeport-agent
	ln -sf homeport-agent $(TARGET_DIR)/etc/init.d/S99homeport-agent
endef

$(eval $(cargo-package))
