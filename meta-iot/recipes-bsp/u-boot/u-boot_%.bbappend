require ${@bb.utils.contains('DISTRO_FEATURES', 'homeport', '${BPN}_homeport.inc', '', d)}
