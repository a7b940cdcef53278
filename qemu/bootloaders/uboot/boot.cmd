# A/B selection for RAUC's U-Boot backend: BOOT_ORDER, and for each slot BOOT_<slot>_LEFT, the tries that it has left.
#
# The environment is kept twice, in the format that U-Boot and libubootenv (fw_setenv) know as redundant: CRC-32 of the
# data, a byte that counts writes, data. The newer copy counts, and a change is written over the older one, on both
# sides: a power cut costs the change at most, never the environment. This U-Boot was built for another environment, so
# the script does it itself: without the byte in the middle a copy is what `env import -c` checks and reads.
#
# Two variables are the script's own. BOOT_LAST is the slot that it started last; when the counter of that slot is full
# again at the next start, somebody has marked the slot good, and BOOT_GOOD remembers it. When no slot in BOOT_ORDER has
# tries left, that slot is started; its counter stays at 0, and so does that of the other: what is known to be bad comes
# back only by being marked good. Slots that are not known to be good are started only if that one cannot be loaded.
#
# Every path ends in a started kernel or in a reset, never in a prompt. Numbers are hexadecimal.

setenv full 3
setenv address_0 43000000
setenv address_1 43010000
# The environment without the counting byte, as `env import` and `env export` take it.
setenv plain 43020000
setenv plain_data 43020004

part start virtio 0 environment sector_0
setexpr sector_1 ${sector_0} + 400

setenv names BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_LAST BOOT_GOOD
setenv locate 'setexpr copy_flags ${copy} + 4; setexpr copy_data ${copy} + 5'
setenv strip 'cp.b ${copy} ${plain} 4; cp.b ${copy_data} ${plain_data} ffb'
setenv import 'run locate; run strip; env import -c ${plain} fff ${names}'

setenv newest none
setenv flags 0
setenv copy ${address_0}
if virtio read ${copy} ${sector_0} 8 && run import; then
  setexpr.b flags *${copy_flags}
  setenv newest 0
fi
setenv copy ${address_1}
if virtio read ${copy} ${sector_1} 8 && run import; then
  setexpr.b flags_1 *${copy_flags}
  # The count starts over after ff.
  if test ${newest} = none || test ${flags}:${flags_1} = ff:0; then
    setenv newest 1
  elif itest ${flags_1} > ${flags} && test ${flags}:${flags_1} != 0:ff; then
    setenv newest 1
  else
    setenv copy ${address_0}
    run import
  fi
  if test ${newest} = 1; then setenv flags ${flags_1}; fi
fi
if test ${newest} = none; then
  echo "boot: both copies of the environment are unreadable, using defaults"
  setenv BOOT_ORDER A B
  setenv BOOT_A_LEFT ${full}
  setenv BOOT_B_LEFT ${full}
fi
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 0
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 0

if test "${BOOT_LAST}" = A && itest ${BOOT_A_LEFT} >= ${full}; then setenv BOOT_GOOD A; fi
if test "${BOOT_LAST}" = B && itest ${BOOT_B_LEFT} >= ${full}; then setenv BOOT_GOOD B; fi

setenv chosen
setenv trusted
for slot in ${BOOT_ORDER} end; do
  if test -z "${chosen}"; then
    if test ${slot} = A && itest ${BOOT_A_LEFT} > 0; then
      setenv chosen A
      setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
    elif test ${slot} = B && itest ${BOOT_B_LEFT} > 0; then
      setenv chosen B
      setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
    fi
  fi
  # RAUC takes a slot that it marks bad, or begins to write, out of the order.
  if test ${slot} = "${BOOT_GOOD}"; then setenv trusted ${slot}; fi
done
if test -z "${chosen}"; then
  echo "boot: no slot has tries left, the last resort"
  setenv chosen ${trusted} ${BOOT_ORDER} ${BOOT_GOOD} A B
fi

setenv use_0 'setenv newest 0; setenv copy ${address_0}; setenv sector ${sector_0}'
setenv use_1 'setenv newest 1; setenv copy ${address_1}; setenv sector ${sector_1}'
setenv use_older 'if test ${newest} = 0; then run use_1; else run use_0; fi'
setenv count 'setexpr flags ${flags} + 1; mw.b ${copy_flags} ${flags}; setexpr.b flags *${copy_flags}'
setenv fill 'env export -c -s fff ${plain} ${names}; cp.b ${plain} ${copy} 4; cp.b ${plain_data} ${copy_data} ffb'
setenv save 'run use_older; run locate; run count; run fill; virtio write ${copy} ${sector} 8'

setenv find_A 'setenv partition @SLOT_A@'
setenv find_B 'setenv partition @SLOT_B@'
# The kernel unpacks itself where it lies, with the memory behind it as its heap. It is cleared: QEMU makes every write
# slow to a page that still holds translated code of the run before the reset.
setenv clear_heap 'setexpr heap ${kernel_addr_r} + ${filesize}; mw.b ${heap} 0 20000'
setenv load_kernel 'load virtio 0:${partition} ${kernel_addr_r} /boot/vmlinuz && run clear_heap'
setenv load_initrd 'load virtio 0:${partition} ${ramdisk_addr_r} /boot/initrd'
setenv start_kernel 'bootz ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}'
setenv options panic=1 quiet loglevel=4 mitigations=off

for slot in ${chosen}; do
  if test ${slot} = A || test ${slot} = B; then
    setenv BOOT_LAST ${slot}
    run save || echo "boot: the environment cannot be written"
    echo "boot: slot ${slot} (order ${BOOT_ORDER}, left A=${BOOT_A_LEFT} B=${BOOT_B_LEFT}, known good ${BOOT_GOOD})"
    run find_${slot}
    setenv bootargs "root=@DEVICE@${partition} ro rauc.slot=${slot} console=@CONSOLE@ ${options}"
    run load_kernel && run load_initrd && run start_kernel
    echo "boot: slot ${slot} cannot be started"
  fi
done
# The try of a slot that could not be started is counted.
reset
