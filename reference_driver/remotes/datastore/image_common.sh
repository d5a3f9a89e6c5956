#!/bin/bash
# What the actions of the datastore driver share: the storage and who reaches it, naming new images, looking into files that users bring.
#
# An image is one file directly below BASE_PATH; its path is the SOURCE. Where BRIDGE_LIST is set, a host of it reaches the storage, and the
# front-end does not look: functions named host_* run there, else here.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=../storage_common.sh
source "$remotes/storage_common.sh"

# the host that reaches the storage, empty for this machine; see pick_bridge
bridge=""

# pick_bridge BRIDGE_LIST ID: sets `bridge`. Those that oned knows as off, in error or disabled are left out; the id spreads the work.
pick_bridge() {
    bridge=$(one_of_bridges "$1" "$2")
}

# one_of_bridges BRIDGE_LIST ID: prints one of the hosts, nothing for an empty list.
one_of_bridges() {
    local -a able=()
    [[ $1 == *[![:space:]]* ]] || return 0
    able_bridges "$1"
    ((${#able[@]})) || fail "None of the hosts of BRIDGE_LIST can be used: $1"
    printf '%s\n' "${able[$2 % ${#able[@]}]}"
}

# able_bridges HOSTS: sets `able` to those that can be used.
able_bridges() {
    local -a listed
    local host pool
    able=()
    read -rd '' -a listed <<<"$1" || :
    pool=$(onehost list -x 2>/dev/null) || pool="<HOST_POOL/>"
    # in error, disabled, looked at although in error or disabled, off
    read_texts "%m%HOST[STATE=3]/NAME" "%m%HOST[STATE=4]/NAME" "%m%HOST[STATE=5]/NAME" "%m%HOST[STATE=7]/NAME" "%m%HOST[STATE=8]/NAME" <<<"$pool"
    for host in "${listed[@]}"; do
        [[ " ${texts[*]} " == *" $host "* ]] || able+=("$host")
    done
}

# storage_shell: runs the commands on standard input where the storage is.
storage_shell() {
    if [[ -n $bridge ]]; then
        ssh -o BatchMode=yes "$bridge" bash -s
    else
        bash -s
    fi
}

# on_storage TEXT FUNCTION ARGUMENT...: runs a host function there; if it fails, the action fails with TEXT and what was said.
# `said` is what it printed.
on_storage() {
    local problem=$1
    shift
    said=$(storage_shell < <(host_script "$@") 2>&1) || fail "$problem${bridge:+ on $bridge}: ${said:-$1 failed}"
}

# image_of SOURCE BASE_PATH: sets `source` to the path of an image, checked to lie directly in the datastore: then no link and no ".." on the
# way can lead elsewhere.
image_of() {
    local base name
    source=$(fix_dir_slashes "$1")
    base=$(fix_dir_slashes "$2")
    name=${source##*/}
    if [[ -z $base || $source != "${base%/}/$name" || $name == @(""|.|..) ]]; then
        fail "The image $source is left alone: it does not lie in $base"
    fi
}

# find_snapshot [DUMP] ID: reads the document of an action on a snapshot of an image; sets `source` and `snapshot`, the files of both, and the
# bridge. They are whole copies: SOURCE.snap/<snapshot id>, as the transfer driver makes them.
# shellcheck disable=SC2034 # set for the scripts
find_snapshot() {
    read_texts IMAGE/SOURCE DATASTORE/BASE_PATH IMAGE/TARGET_SNAPSHOT DATASTORE/TEMPLATE/BRIDGE_LIST < <(driver_dump "$@")
    local id=${texts[2]} bridge_list=${texts[3]}
    image_of "${texts[0]}" "${texts[1]}"
    [[ $id =~ ^[0-9]+$ ]] || fail "'$id' is not the id of a snapshot"
    snapshot=$source.snap/$id
    pick_bridge "$bridge_list" "${!#}"
}

# new_image BASE_PATH IMAGE_ID: chooses the SOURCE of a new image (`image`) and the file to write first (`part`), which goes when
# the script ends. The name is one that no other image and no earlier attempt has had.
new_image() {
    local base now
    [[ -n $1 ]] || fail "The datastore has no BASE_PATH"
    base=$(fix_dir_slashes "$1")
    printf -v now '%(%s)T' -1
    printf -v image '%s/%08x%08x%08x%08x' "${base%/}" "$2" "$now" $$ $((RANDOM << 15 | RANDOM))
    part=$image.part
    on_storage "Cannot make the directory of the datastore" mkdir -p -- "$base"
    trap 'storage_shell < <(host_script rm -f -- "$part" "$part.raw" "$part.download") 2>/dev/null || :' EXIT
}

# keep_image: the file that was written becomes the image, at once and whole.
keep_image() {
    on_storage "Cannot keep the image at $image" mv -T -- "$part" "$image"
    trap - EXIT
}

# bring SOURCE OPTION...: brings a file to `part`, wherever that is; the options are those of `download`, `sparse` says what becomes of holes.
sparse=always
bring() {
    local from=$1 said
    shift
    if [[ -z $bridge ]]; then
        said=$("$remotes/datastore/download" --sparse "$sparse" "$@" -- "$from" "$part" 2>&1) || fail "$said"
        return
    fi
    said=$(bring_over "$from" "$@" 2>&1) || fail "${said:-Cannot bring $from to $bridge}"
}

# bring_over SOURCE OPTION...: the same, to a host of BRIDGE_LIST; what comes behind the script is for host_receive.
bring_over() {
    {
        host_script host_receive "$part" "$sparse"
        "$remotes/datastore/download" "${@:2}" -- "$1" -
    } | storage_shell
}

# host_receive FILE SPARSE: writes standard input to a file.
host_receive() { cp --sparse="$2" --no-preserve=mode -- /dev/stdin "$1"; }

# check_path PATH RESTRICTED_DIRS SAFE_DIRS: sets `from`, where the bytes are to be read; `file` is the descriptor of a local file.
# Fails for a path of a kind that is not taken, and where the user may not read through the driver.
check_path() {
    file=""
    from=$1
    case $1 in
        /*) open_local "$@" ;;
        file:///*) open_local "$(file_path "$1")" "$2" "$3" ;;
        http://* | https://* | rsync://* | rsync+rbd://* | restic://* | restic+rbd://*) ;;
        *) fail "'$1' cannot be taken: the path of an image begins with /, file:///, http:// or https://" ;;
    esac
    [[ -z $file ]] || from=/proc/self/fd/$file
}

# file_path URL: prints the path of a file:/// URL, with %XX decoded.
file_path() {
    local path=${1#file://}
    path=${path//\\/\\\\}
    printf '%b\n' "${path//%/\\x}"
}

# open_local PATH RESTRICTED_DIRS SAFE_DIRS: opens a file of the user's as the descriptor `file`, which stays the same file until the end,
# whatever is put in its place.
open_local() {
    local real
    local -a restricted safe
    [[ -f $1 ]] || fail "There is no file $1"
    [[ -r $1 ]] || fail "The file $1 may not be read"
    read -rd '' -a restricted <<<"$2" || :
    read -rd '' -a safe <<<"$3" || :
    exec {file}<"$1"
    real=$(readlink "/proc/$$/fd/$file")
    if below "$real" "${ONE_LOCATION:-/var/lib/one}" /etc/one "${HOME:-/root}" "${restricted[@]}" && ! below "$real" "${safe[@]}"; then
        fail "The file $1 lies in a restricted directory; SAFE_DIRS of the datastore can allow it"
    fi
}

# below REAL_PATH DIRECTORY...: whether the path lies in one of the directories, wherever links lead.
below() {
    local directory directories
    (($# > 1)) || return 1
    directories=$(realpath -m -- "${@:2}")
    while IFS= read -r directory; do
        [[ $1 != "${directory%/}"/* ]] || return 0
    done <<<"$directories"
    return 1
}

# examine FILE NAME: looks into an image file where the storage is; sets `format` and `size` (virtual, in bytes). NAME is what the user
# calls it. Fails for an image that would make the hypervisor open further files, which the user may have no right to read.
# shellcheck disable=SC2034 # set for the scripts
examine() {
    local top=$'\n    ' # keys of the outermost object stand four blanks in
    on_storage "Cannot read $2 as an image" host_examine "$1"
    [[ $said =~ ${top}\"virtual-size\":\ ([0-9]+) ]] || fail "qemu-img tells no size of $2"
    size=${BASH_REMATCH[1]}
    [[ $said =~ ${top}\"format\":\ \"([^\"]+)\" ]] || fail "qemu-img tells no format of $2"
    format=${BASH_REMATCH[1]}
    [[ ! $said =~ ${top}\"backing-filename\": ]] || fail "$2 depends on a backing file; give an image that is whole (qemu-img convert)"
    [[ $said != *'"data-file":'* ]] || fail "$2 keeps its data in another file; give an image that is whole (qemu-img convert)"
    case $format in
        raw | qcow2 | vdi | vpc | vhdx) ;;
        luks) format=raw ;; # for the hypervisor an encrypted image is raw; the guest's secret opens it
        *) fail "$2 is of format $format, which is not taken; convert it to qcow2 or raw (qemu-img convert)" ;;
    esac
}

# host_convert FILE FROM TO: changes the format of an image.
host_convert() {
    qemu-img convert -f "$2" -O "$3" -- "$1" "$1.raw"
    mv -T -- "$1.raw" "$1"
}

# host_copy ORIGINAL FILE
host_copy() {
    if [[ ! -f $1 ]]; then
        echo "$1 is not there" >&2
        return 1
    fi
    cp --reflink=auto --no-preserve=mode -- "$1" "$2"
}

# host_put_back IMAGE SNAPSHOT: the image becomes what the snapshot holds, at once and whole.
host_put_back() {
    part=$1.$$.part
    trap 'rm -f -- "$part"' EXIT
    host_copy "$2" "$part"
    mv -fT -- "$part" "$1"
    trap - EXIT
}

# host_examine FILE: prints what qemu-img finds. A file made to harm may ask for absurd amounts.
host_examine() {
    ulimit -S -t 60 -v 2097152 2>/dev/null || :
    qemu-img info -U --output=json -- "$1"
}
