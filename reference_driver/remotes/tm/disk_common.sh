#!/bin/bash
# What the actions of the transfer driver share: working on hosts, and asking oned about disks.
#
# A disk is the file <system datastore>/<VM id>/disk.<disk id>, made on the host that oned names: it may be the only one that mounts
# the datastore. Functions named host_* run there. They get all they need as arguments and use only each other, and `mark`.
# The snapshots of a file are whole copies of it, FILE.snap/<snapshot id>; those of a persistent disk belong to its image.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=tm_common.sh
source "$remotes/tm/tm_common.sh"
# shellcheck source=../storage_common.sh
source "$remotes/storage_common.sh"

# names_disk PATH: whether it is a disk of a VM, not its directory.
names_disk() { [[ $1 =~ /disk\.[0-9]+ ]]; }

# What hosts find in .monitor: the name of the system datastore's driver, if hosts have that datastore for themselves; empty if all share it.
# The driver is the one whose script this is, or the one that the script's suffix names.
mark=${0##*/}
if [[ $mark == *.* ]]; then
    mark=${mark##*.}
else
    mark=$(realpath -- "${0%/*}")
    mark=${mark##*/}
fi
[[ -e $remotes/tm/$mark/monitor_ds ]] || mark=""

# shell_on HOST: a shell that reads its commands from standard input; with an empty name, here on the front-end.
shell_on() {
    if [[ -n $1 ]]; then
        ssh -o BatchMode=yes "$1" bash -s
    else
        bash -s
    fi
}

# try_on_host HOST FUNCTION ARGUMENT...: runs a host function on a host, in one connection. Standard input of the caller stays untouched.
# Status is that of the function, 255 if the host cannot be reached; `said` is what came on stderr.
try_on_host() {
    said=$(shell_on "$1" <<<"$(host_script "${@:2}")" 2>&1 >/dev/null)
}

# on_host TEXT HOST FUNCTION ARGUMENT...: the same; if it fails, the action fails with TEXT and what was said.
on_host() {
    local problem=$1
    shift
    try_on_host "$@" || fail "$problem: ${said:-$2 failed on ${1:-the front-end}}"
}

# check_owner PATH VM_ID: fails unless the path is a directory or disk of that VM: <datastore id>/<VM id>[/disk.N]. It stands before
# everything that removes: a wrong word must not cost anyone's data.
check_owner() {
    if [[ ! $2 =~ ^[0-9]+$ || ! $1 =~ ^/.*/[0-9]+/$2(/disk\.[0-9]+)?$ || $1/ == */../* ]]; then
        fail "'$1' is left alone: it is no directory or disk of VM '$2'"
    fi
}

# ask_disk VM_ID DISK_PATH: asks oned about a disk of the VM; sets `format`, `file_system`, `grown_mb` (its size where that is larger
# than the image's, else 0), and of the VM `lcm_state` and `domain`, its name for the hypervisor. These are in no argument of any action.
# shellcheck disable=SC2034 # set for the scripts
ask_disk() {
    local document disk="TEMPLATE/DISK[DISK_ID=${2##*/disk.}]"
    document=$(onevm show -x "$1" 2>/dev/null) || fail "Cannot ask oned about VM $1"
    read_texts "$disk/DISK_ID" "$disk/FORMAT" "$disk/DRIVER" "$disk/FS" "$disk/SIZE" "$disk/ORIGINAL_SIZE" LCM_STATE DEPLOY_ID <<<"$document"
    [[ -n ${texts[0]} ]] || fail "VM $1 has no disk ${2##*/disk.}"
    format=${texts[1]:-${texts[2]:-raw}}
    file_system=${texts[3]}
    grown_mb=${texts[4]:-0}
    ((grown_mb > ${texts[5]:-grown_mb})) || grown_mb=0
    lcm_state=${texts[6]}
    domain=${texts[7]}
}

# lost_its_host VM_ID: whether oned moves the VM because its host was lost (PROLOG_MIGRATE_UNKNOWN): then that host cannot be asked.
lost_its_host() {
    read_texts LCM_STATE < <(onevm show -x "$1")
    [[ ${texts[0]} == 6[01] ]]
}

# check_snapshot ID: fails unless it is the id of a snapshot; it becomes part of a path.
check_snapshot() {
    [[ $1 =~ ^[0-9]+$ ]] || fail "'$1' is not the id of a snapshot"
}

# host_begin FILE: chooses the file to write first (`part`), which goes if the script fails, and makes the directory for it.
host_begin() {
    part=$1.$$.$RANDOM.part
    trap 'rm -f -- "$part" "$part.raw"' EXIT
    mkdir -p -- "${1%/*}"
}

# host_begin_disk DISK: the same for a disk of a VM, where the mark for monitoring belongs.
host_begin_disk() {
    host_begin "$1"
    host_set_mark "${1%/*/*}"
}

# host_set_mark DIRECTORY: a system datastore that a host has for itself is monitored there, by the driver that the mark names. One that is
# shared is monitored from the front-end: a mark that another driver has left goes.
host_set_mark() {
    local file=$1/.monitor
    if [[ -z $mark ]]; then
        [[ ! -e $file ]] || rm -f -- "$file"
    elif [[ ! -e $file || $(<"$file") != "$mark" ]]; then
        printf '%s\n' "$mark" >"$file"
    fi
}

# host_finish DISK: the file that was written becomes the disk, at once and whole; whatever an earlier attempt has left there goes.
host_finish() {
    [[ ! -e $1.snap ]] || rm -rf -- "$1.snap"
    host_put "$1"
}

# host_put FILE: the file that was written becomes FILE; its snapshots stay.
host_put() {
    mv -fT -- "$part" "$1"
    trap - EXIT
}

# host_copy FILE: a whole copy of the file becomes `part`.
host_copy() {
    cp --reflink=auto --sparse=always --no-preserve=mode -- "$1" "$part"
}

# host_keep DISK SNAPSHOT_ID: a copy of the file becomes a snapshot. The disk may be a link to its image: then they are the image's.
host_keep() {
    local file
    file=$(realpath -e -- "$1")
    host_begin "$file.snap/$2"
    host_copy "$file"
    host_put "$file.snap/$2"
}
