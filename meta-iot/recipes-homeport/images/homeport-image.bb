SUMMARY = "Small image with the Homeport agent and two slots"
DESCRIPTION = "The start of a product: a console, a network, RAUC and the Homeport agent."
LICENSE = "Apache-2.0 ${HOMEPORT_OR} MIT"

inherit core-image homeport-image-ab

IMAGE_LINGUAS = ""
