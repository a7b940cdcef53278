include $(sort $(wildcard $(BR2_EXTERNAL_HOMEPORT_PATH)/package/*/*.mk))

# Before anything is built, and not after an hour of compiling.
ifeq ($(BR2_HOMEPORT_IMAGE)$(BR_BUILDING),yy)
HOMEPORT_UNSET = $(foreach option,KEYRING SIGNER_CERTIFICATE SIGNER_KEY,$(if $(call qstrip,$(BR2_HOMEPORT_$(option))),,BR2_HOMEPORT_$(option)))

define HOMEPORT_UNSET_HELP
not set: $(strip $(HOMEPORT_UNSET))
There is no default key. Make your own with
  $(abspath $(BR2_EXTERNAL_HOMEPORT_PATH)/..)/meta-iot/scripts/make-signing-keys FOLDER
and enter the paths in "make menuconfig", External options. See docs/usage/buildroot.md
endef

.PHONY: homeport-keys
homeport-keys:
	$(if $(strip $(HOMEPORT_UNSET)),$(error $(HOMEPORT_UNSET_HELP)))

prepare: homeport-keys
endif
