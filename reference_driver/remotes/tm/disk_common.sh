#!/bin/bash
# What the actions of the transfer driver share: working on hosts, and asking oned about disks.
#
# A disk is the file <system datastore>/<VM id>/disk.<disk id>, made on the host that oned names: it may be the only one that mounts
# the datastore. Functions named host_* run there. They get all they need as arguments and use only each other.

# shellcheck source=tm_common.sh
source "${BASH_SOURCE[0]%/*}/tm_common.sh"
# shellcheck source=../storage_common.sh
source "${BASH_SOURCE[0]%/*}/../storage_common.sh"

# host_script FUNCTION ARGUMENT...: prints the script that runs one of the host functions on a host.
host_script() {
    printf '%s\n' 'set -euo pipefail' 'umask 0007' 'export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin'
    # shellcheck disable=SC2046 # names of functions hold no blanks
    declare -f $(compgen -A function host_)
    printf '%q ' "$@"
    # one line to the end: what follows on standard input belongs to the function
    printf '%s\n' '; exit'
}

# try_on_host HOST FUNCTION ARGUMENT...: runs a host function on a host, in one connection. Standard input of the caller stays untouched.
# Status is that of the function, 255 if the host cannot be reached; `said` is what came on stderr.
try_on_host() {
    said=$(ssh -o BatchMode=yes "$1" bash -s <<<"$(host_script "${@:2}")" 2>&1 >/dev/null)
}

# on_host TEXT HOST FUNCTION ARGUMENT...: the same; if it fails, the action fails with TEXT and what was said.
on_host() {
    local problem=$1
    shift
    try_on_host "$@" || fail "$problem: ${said:-$2 failed on $1}"
}

# ask_disk VM_ID DISK_PATH: asks oned about a disk of the VM; sets `format`, `file_system`, and `grown_mb`, its size where that is
# larger than the image's, else 0. These are in no argument of any action.
ask_disk() {
    local document disk="TEMPLATE/DISK[DISK_ID=${2##*/disk.}]"
    local -A told
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    fill told "$disk/DISK_ID" "$disk/FORMAT" "$disk/DRIVER" "$disk/FS" "$disk/SIZE" "$disk/ORIGINAL_SIZE" <<<"$document" ||
        fail "What oned says about VM $1 cannot be read"
    [[ -n ${told[$disk/DISK_ID]} ]] || fail "VM $1 has no disk ${2##*/disk.}"
    format=${told[$disk/FORMAT]:-${told[$disk/DRIVER]:-raw}}
    file_system=${told[$disk/FS]}
    grown_mb=${told[$disk/SIZE]:-0}
    ((grown_mb > ${told[$disk/ORIGINAL_SIZE]:-grown_mb})) || grown_mb=0
}

# host_begin DISK: makes the VM directory and chooses the file to write first (`part`), which goes if the script fails.
host_begin() {
    part=$1.$$.$RANDOM.part
    trap 'rm -f -- "$part" "$part.raw"' EXIT
    mkdir -p -- "${1%/*}"
    host_unmark "$1"
}

# host_unmark DISK: a shared datastore is monitored from the front-end; a mark for monitoring on hosts, left by another driver, goes.
host_unmark() {
    [[ ! -e ${1%/*/*}/.monitor ]] || rm -f -- "${1%/*/*}/.monitor"
}

# host_finish DISK: the file that was written becomes the disk, at once and whole; whatever an earlier attempt has left there goes.
host_finish() {
    [[ ! -e $1.snap ]] || rm -rf -- "$1.snap"
    mv -fT -- "$part" "$1"
    trap - EXIT
}
