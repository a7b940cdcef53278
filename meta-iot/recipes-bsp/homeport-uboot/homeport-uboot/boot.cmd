# A/B selection for RAUC's U-Boot backend: BOOT_ORDER, and for each slot BOOT_<slot>_LEFT, the tries that it has left.
# Every path ends in a started kernel or in a reset, never in a prompt. Numbers are hexadecimal.

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER A B
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
# Slot B is empty in the factory.
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 0

setenv chosen
for slot in ${BOOT_ORDER}; do
  if test -z "${chosen}"; then
    if test ${slot} = A && itest ${BOOT_A_LEFT} > 0; then
      setenv chosen A
      setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
    elif test ${slot} = B && itest ${BOOT_B_LEFT} > 0; then
      setenv chosen B
      setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
    fi
  fi
done

if test -z "${chosen}"; then
  # Every slot used up its tries. RAUC takes a slot that is marked bad out of the order: start over with the others.
  echo "boot: no slot left to try, starting over"
  for slot in ${BOOT_ORDER}; do
    setenv BOOT_${slot}_LEFT 3
    test -n "${chosen}" || setenv chosen ${slot}
  done
  test -n "${chosen}" || setenv chosen A
fi
saveenv

if test ${chosen} = A; then
  setenv label slot-a
else
  setenv label slot-b
fi
part number @DISK@ ${label} partition
echo "boot: slot ${chosen} (order ${BOOT_ORDER}, tries left A=${BOOT_A_LEFT} B=${BOOT_B_LEFT})"
setenv bootargs "root=PARTLABEL=${label} ro rauc.slot=${chosen} console=@CONSOLE@ @ARGUMENTS@"
load @DISK@:${partition} ${kernel_addr_r} /boot/@KERNEL@ && bootz ${kernel_addr_r} - ${fdtcontroladdr}
# The try of a slot that could not be started is counted.
reset
