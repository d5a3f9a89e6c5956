#!/bin/bash
# Moving VM directories, sourced after disk_common.sh.

# see_each_other SOURCE_HOST SOURCE HOST: whether both hosts see the directory as one, under whatever names: they share the storage, or are one machine.
# Otherwise `seen` is apart; gone, if the source is not there; or lost, if its host does not answer (`said`).
see_each_other() {
    local look=.look.$$.$RANDOM found=yes status=0
    try_on_host "$1" host_look "$2" "$look" || status=$?
    case $status in
        0) seen=apart ;;
        3) seen=gone ;;
        *) seen=lost ;;
    esac
    [[ $seen == apart ]] || return 1
    try_on_host "$3" test -e "$2/$look" || found=""
    try_on_host "$1" rm -f -- "$2/$look" || :
    [[ -n $found ]]
}

# host_look DIRECTORY NAME: leaves a file by which another host can tell that it sees the same. Status 3: there is no such directory.
host_look() {
    [[ -d $1 ]] || exit 3
    touch -- "$1/$2"
}

# host_move SOURCE DIRECTORY STAMP: moves where both can be seen. The source counts until the directory is in place, so that a move cut off can be
# done again. With STAMP, the source must hold that file, which goes.
host_move() {
    local source=$1 directory=$2 stamp=$3 devices
    [[ -n $stamp || -d $source || ! -d $directory ]] || return 0
    [[ -z $stamp ]] || rm -- "$source/$stamp"
    [[ ! $source -ef $directory ]] || return 0
    mkdir -p -- "${directory%/*}"
    host_set_mark "${directory%/*}"
    devices=$(stat -c %d -- "$source" "${directory%/*}")
    part=$source
    if [[ ${devices%$'\n'*} != "${devices#*$'\n'}" ]]; then
        part=$directory.$$.part
        trap 'rm -rf -- "$part"' EXIT
        cp -a -- "$source" "$part"
    fi
    rm -rf -- "$directory"
    mv -T -- "$part" "$directory"
    [[ $part == "$source" ]] || host_leave "$source"
}

# host_arrive PART VM_ID DIRECTORY: a directory that has been unpacked takes its place; whatever an earlier attempt has left there goes.
host_arrive() {
    rm -rf -- "$3"
    mv -T -- "$1/$2" "$3"
    rm -rf -- "$1"
    host_set_mark "${3%/*}"
}

# host_leave DIRECTORY: removes it, and never leaves half of it under its name.
host_leave() {
    [[ ! -e $1 ]] || { mv -T -- "$1" "$1.$$.old" && rm -rf -- "$1.$$.old"; }
}
