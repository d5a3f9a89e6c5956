#!/bin/bash
# Pools of type disk, whose volumes are partitions: libvirt takes no name for one but that of the next partition. So each volume that a driver makes has a link
# of the driver's own name to its partition, in the directory of its datastore where the pool is worked on.
#
# Sourced by libvirt_common.sh, never run. Whoever makes or deletes a partition holds a lock on this front-end: a number that is free is taken again at once.
# So a link never leads to nothing: it comes after its partition, and goes before it.
# shellcheck disable=SC2154 # links, pool and its like are what libvirt_common.sh has found

# linked NAME: prints the path of the link that stands for a volume.
linked() { printf '%s/%s\n' "$links" "$1"; }

# known_as NAME: prints what libvirt calls a volume: where that is a partition, what the link leads to.
known_as() {
    local path=""
    [[ $pool_type != disk ]] || path=$(on_bridge readlink -- "$(linked "$1")" 2>/dev/null) || :
    path=${path:-$1}
    printf '%s\n' "${path##*/}"
}

# alone COMMAND...: runs a command while no other action of this front-end makes or deletes partitions.
alone() {
    local lock="" status=0
    exec {lock}<"$remotes"
    flock "$lock"
    "$@" || status=$?
    exec {lock}<&-
    return "$status"
}

# next_partition: prints the name that the next partition gets: the first number that is free.
next_partition() {
    local names name device=${pool_source##*/} number=1
    read_again || return
    names=$(libvirt vol-list --pool "$pool") || return
    names=$(while read -r name _; do printf '%s\n' "$name"; done <<<"$names")
    [[ $device != *[0-9] ]] || device+=p
    while [[ $'\n'$names$'\n' == *$'\n'"$device$number"$'\n'* ]]; do ((++number)); done
    printf '%s\n' "$device$number"
}

# make_partition NAME XML: makes a volume that is a partition, with the link that stands for it.
make_partition() {
    local partition
    partition=$(next_partition) || return
    on_bridge mkdir -p -- "$links" || return
    libvirt vol-create --pool "$pool" --file /dev/stdin <<<"${2/"$(markup name "$1")"/"$(markup name "$partition")"}" || {
        # what libvirt knows of the device after a failure is not what is there
        read_again || :
        return 1
    }
    on_bridge ln -sT -- "$target/$partition" "$(linked "$1")" || {
        libvirt vol-delete --pool "$pool" --vol "$partition" || :
        return 1
    }
}

# drop_partition NAME: removes the link that stands for a volume, and deletes its partition. One that was there before has no link and stays.
drop_partition() {
    local partition link
    link=$(linked "$1")
    on_bridge test -L "$link" || return 0
    partition=$(known_as "$1")
    on_bridge rm -f -- "$link" || return
    libvirt vol-delete --pool "$pool" --vol "$partition" || {
        on_bridge ln -sT -- "$target/$partition" "$link"
        return 1
    }
}
