#!/bin/bash
# For drivers whose hosts have storage of their own, sourced after disk_common.sh: files travel over ssh, through the front-end.
#
# What arrives is first unpacked beside its place (`NAME.part`), and takes the place only when the sender, too, has ended well.
# shellcheck disable=SC2154 # ask_disk sets format and grown_mb

# carry FROM_HOST TO_HOST PART FUNCTION ARGUMENT...: unpacks the archive that a host function writes on one host into the directory PART of the other.
# An empty host is the front-end. If that fails, status is 1, nothing is left, and `said` tells why.
carry() {
    local from=$1 to=$2 part=$3 problem
    shift 3
    problem=$({
        shell_on "$from" <<<"$(host_script "$@")" |
            { host_script host_unpack "$part" && cat; } | shell_on "$to"
    } 2>&1 >/dev/null) && return 0
    try_on_host "$to" rm -rf -- "$part" || :
    # the first line tells the cause; what the other side says is its consequence
    said=${problem%%$'\n'*}
    said=${said:-the connection broke off}
    return 1
}

# host_send DIRECTORY NAME...: writes what is there of the names as an archive that keeps holes.
host_send() {
    local name names=()
    cd -- "$1" || exit 2
    for name in "${@:2}"; do
        [[ ! -e $name ]] || names+=("$name")
    done
    ((${#names[@]})) || {
        printf '%s/%s is not there\n' "$1" "$2" >&2
        exit 2
    }
    tar -cSf - -- "${names[@]}"
}

# host_unpack PART: reads an archive from standard input.
host_unpack() {
    mkdir -p -- "$1"
    tar -xSf - -C "$1"
}

# host_settle PART NAME FILE: a file that has arrived takes its place, together with its snapshots; PART goes in any case.
host_settle() {
    part=$1
    trap 'rm -rf -- "$part"' EXIT
    rm -rf -- "$3.snap"
    [[ ! -d $1/$2.snap ]] || mv -T -- "$1/$2.snap" "$3.snap"
    mv -fT -- "$1/$2" "$3"
    rm -rf -- "$1"
}

# bring_image SOURCE HOST DISK [snapshots]: copies an image of the front-end to a host, where it becomes a disk of the size that ask_disk
# found; with `snapshots`, those of the image as well.
bring_image() {
    local problem="Cannot copy $1 to $2:$3" part=$3.$$.part name=${1##*/} names
    names=("$name" ${4:+"$name.snap"})
    [[ -f $1 ]] || fail "$problem: the image is not there"
    carry "" "$2" "$part" host_send "${1%/*}" "${names[@]}" || fail "$problem: $said"
    on_host "$problem" "$2" host_install "$part" "$name" "$3" "$format" "$grown_mb"
}

# host_install PART NAME DISK FORMAT GROWN_MB: an image that has arrived becomes a disk.
host_install() {
    part=$1
    trap 'rm -rf -- "$part"' EXIT
    (($5 == 0)) || qemu-img resize -q -f "$4" "$1/$2" "$5M"
    host_set_mark "${3%/*/*}"
    host_settle "$1" "$2" "$3"
}
