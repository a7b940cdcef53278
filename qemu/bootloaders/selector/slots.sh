#!/bin/busybox sh
# Which slot is started, for RAUC's U-Boot backend: BOOT_ORDER, and for each slot BOOT_<slot>_LEFT, the tries that it has
# left. Read by `init`, and by the tests.
#
# Two variables are the selector's own. BOOT_LAST is the slot that it started last; when the counter of that slot is
# full again at the next start, somebody has marked the slot good, and BOOT_GOOD remembers it. When no slot in BOOT_ORDER
# has tries left, that slot is started; its counter stays at 0, and so does that of the other: what is known to be bad
# comes back only by being marked good. Slots that are not known to be good are started only if that one cannot be.

FULL=3

# Sets order, good, left_a and left_b from the file $1, lines of name=value.
read_environment() {
    order=$(value BOOT_ORDER "$1")
    good=$(value BOOT_GOOD "$1")
    left_a=$(tries A "$1")
    left_b=$(tries B "$1")
    case $(value BOOT_LAST "$1") in
        A) if [ "$left_a" -ge $FULL ]; then good=A; fi ;;
        B) if [ "$left_b" -ge $FULL ]; then good=B; fi ;;
    esac
}

# Calls `start` for one slot after the other: it returns only when that slot cannot be started. A slot that cannot be
# costs a try, and the next one has its turn without a reset.
start_slots() {
    trusted=
    for slot in $order; do
        if [ "$slot" = A ] && [ "$left_a" -gt 0 ]; then
            left_a=$((left_a - 1))
            start A
        elif [ "$slot" = B ] && [ "$left_b" -gt 0 ]; then
            left_b=$((left_b - 1))
            start B
        fi
        # RAUC takes a slot that it marks bad, or begins to write, out of the order.
        if [ "$slot" = "$good" ]; then trusted=$slot; fi
    done
    for slot in $trusted $order $good A B; do
        start "$slot"
    done
}

value() {
    sed -n "s/^$1=//p" "$2"
}

# RAUC writes the counters in hexadecimal.
tries() {
    left=$(value "BOOT_$1_LEFT" "$2")
    case $left in
        [0-9a-f]) echo $((0x$left)) ;;
        *) echo 0 ;;
    esac
}
