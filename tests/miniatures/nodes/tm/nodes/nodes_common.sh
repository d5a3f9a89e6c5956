#!/bin/bash
# A driver for system datastores that lie on the nodes: images are copied to a host and back, directories travel by tar. It is for tests alone.

# shellcheck source=../../../../../reference_driver/remotes/tm/disk_common.sh
source "${BASH_SOURCE[0]%/*}/../disk_common.sh"

# host_mark DATASTORE: the mark by which the node's probe finds the driver; one that is right stays as it is.
host_mark() {
    [[ -e $1/.monitor && $(<"$1/.monitor") == nodes ]] || printf 'nodes\n' >"$1/.monitor"
}

# host_unmark DISK: called wherever a disk is made.
host_unmark() {
    host_mark "${1%/*/*}"
}

host_receive() {
    local disk=$1 format=$2 grown_mb=$3
    host_begin "$disk"
    cat >"$part"
    ((grown_mb == 0)) || qemu-img resize -q -f "$format" "$part" "${grown_mb}M"
    host_finish "$disk"
}

# bring SOURCE HOST DISK VM_ID: copies an image of the front-end to a host.
bring() {
    format=raw grown_mb=0
    [[ $3 != */disk.* ]] || ask_disk "$4" "$3"
    {
        host_script host_receive "$3" "$format" "$grown_mb"
        cat -- "$1"
    } | ssh -o BatchMode=yes "$2" bash -s >/dev/null ||
        fail "Cannot copy $1 to $2:$3"
}
