#!/bin/bash
# What the actions of the transfer driver share: working on hosts, and asking oned about disks.
#
# A disk is the file <system datastore>/<VM id>/disk.<disk id>, made on the host that oned names: it may be the only one that mounts
# the datastore. Functions named host_* run there. They get all they need as arguments and use only each other.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=tm_common.sh
source "$remotes/tm/tm_common.sh"
# shellcheck source=../storage_common.sh
source "$remotes/storage_common.sh"

# names_disk PATH: whether it is a disk of a VM, not its directory.
names_disk() { [[ $1 =~ /disk\.[0-9]+ ]]; }

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

# check_owner PATH VM_ID: fails unless the path is a directory or disk of that VM: <datastore id>/<VM id>[/disk.N]. It stands before
# everything that removes: a wrong word must not cost anyone's data.
check_owner() {
    if [[ ! $2 =~ ^[0-9]+$ || ! $1 =~ ^/.*/[0-9]+/$2(/disk\.[0-9]+)?$ || $1/ == */../* ]]; then
        fail "'$1' is left alone: it is no directory or disk of VM '$2'"
    fi
}

# ask_disk VM_ID DISK_PATH: asks oned about a disk of the VM; sets `format`, `file_system`, and `grown_mb`, its size where that is
# larger than the image's, else 0. These are in no argument of any action.
# shellcheck disable=SC2034 # set for the scripts
ask_disk() {
    local document disk="TEMPLATE/DISK[DISK_ID=${2##*/disk.}]"
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    read_texts "$disk/DISK_ID" "$disk/FORMAT" "$disk/DRIVER" "$disk/FS" "$disk/SIZE" "$disk/ORIGINAL_SIZE" <<<"$document"
    [[ -n ${texts[0]} ]] || fail "VM $1 has no disk ${2##*/disk.}"
    format=${texts[1]:-${texts[2]:-raw}}
    file_system=${texts[3]}
    grown_mb=${texts[4]:-0}
    ((grown_mb > ${texts[5]:-grown_mb})) || grown_mb=0
}

# lost_its_host VM_ID: whether oned moves the VM because its host was lost (PROLOG_MIGRATE_UNKNOWN): then that host cannot be asked.
lost_its_host() {
    read_texts LCM_STATE < <(onevm show -x "$1")
    [[ ${texts[0]} == 6[01] ]]
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
