require ${@bb.utils.contains('DISTRO_FEATURES', 'rauc homeport', '${BPN}_homeport.inc', '', d)}
