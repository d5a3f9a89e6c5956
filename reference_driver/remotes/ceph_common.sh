#!/bin/bash
# What both Ceph drivers share: reaching the cluster of a datastore, and working on the images in it.
#
# An image of a datastore is POOL/one-ID, which is its SOURCE. The disk that a VM has of its own is called as the hypervisor looks for it: SOURCE-VM-DISK, or
# POOL/one-sys-VM-DISK where it comes from no image. Clones share what they have not written with the protected snapshot `snap` of their image.
#
# Sourced, never run. Functions named host_* run where the cluster is reached; of this file they use only each other and `ceph`.
# shellcheck disable=SC2034 # set for the scripts

remotes=${BASH_SOURCE[0]%/*}
# shellcheck source=tm/disk_common.sh
source "$remotes/tm/disk_common.sh"
# shellcheck source=datastore/image_common.sh
source "$remotes/datastore/image_common.sh"

# read_ceph DATASTORE PATH...: takes from the document on standard input how to reach the cluster of the datastore at the path DATASTORE; sets `pool`,
# `data_pool` (empty: the same), `cluster` (options for every command), `making` (options of commands that make images), `bridges`; and `texts`, as
# read_texts does, for the other paths.
read_ceph() {
    local of=$1/TEMPLATE
    shift
    read_texts "$of/POOL_NAME" "$of/EC_POOL_NAME" "$of/CEPH_USER" "$of/CEPH_KEY" "$of/CEPH_CONF" "$of/BRIDGE_LIST" "$@"
    pool=${texts[0]:-one}
    data_pool=${texts[1]}
    # names with other signs would be read as options, or as an image or a snapshot
    [[ $pool$data_pool =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || fail "'$pool' and '$data_pool' are no names of pools: they have letters, digits, '.', '_', '-'"
    cluster=()
    [[ -z ${texts[2]} ]] || cluster+=(--id "${texts[2]}")
    [[ -z ${texts[3]} ]] || cluster+=(--keyfile "${texts[3]}")
    [[ -z ${texts[4]} ]] || cluster+=(--conf "${texts[4]}")
    making=(${data_pool:+--data-pool "$data_pool"})
    bridges=${texts[5]}
    texts=("${texts[@]:6}")
}

# choose_host ID: sets `host`, where the cluster is reached for the front-end: one of BRIDGE_LIST that is on, in turn; empty is the front-end itself.
choose_host() { host=$(one_of_bridges "$bridges" "$1"); }

# reach HOST: runs the script on standard input on a host; on the front-end itself where HOST is empty.
reach() {
    if [[ -n $1 ]]; then ssh -o BatchMode=yes "$1" bash -s; else bash -s; fi
}

# ceph_script FUNCTION ARGUMENT...: prints the script that runs a host function with the cluster's options in the array `ceph`.
ceph_script() { host_script host_ceph "${#cluster[@]}" "${cluster[@]}" "$@"; }

# ceph_says TEXT HOST FUNCTION ARGUMENT...: runs a host function where the cluster is reached and prints what it prints. If it fails, the action fails
# with TEXT and what was said.
ceph_says() {
    local said
    { said=$(reach "$2" <<<"$(ceph_script "${@:3}")" 2>&1 >&3) || fail "$1: ${said:-no answer from ${2:-the front-end}}"; } 3>&1
}

# on_ceph TEXT HOST FUNCTION ARGUMENT...: the same, and prints nothing.
on_ceph() { ceph_says "$@" >/dev/null; }

host_ceph() {
    ceph=("${@:2:$1}")
    "${@:$1+2}"
}

host_rbd() { rbd "${ceph[@]}" "$@"; }

# host_has IMAGE: whether there is such an image or snapshot. What keeps rbd from telling ends the script.
host_has() {
    local said status=0
    said=$(host_rbd info "$1" 2>&1 >/dev/null) || status=$?
    ((status != 0)) || return 0
    ((status != 2)) || return 1
    printf '%s\n' "${said##*$'\n'}" >&2
    exit "$status"
}

# host_release IMAGE: removes the snapshot that clones share, if there is one; status 1 where clones still need it.
host_release() {
    host_has "$1@snap" || return 0
    host_rbd snap unprotect "$1@snap" 2>/dev/null || host_rbd info "$1@snap" | grep -q 'protected: False' || return 1
    # somebody else may have removed it by now
    host_rbd snap rm --no-progress "$1@snap" || ! host_has "$1@snap"
}

# host_remove IMAGE: removes an image with its snapshots; one that is not there is as it should be.
host_remove() {
    host_has "$1" || return 0
    host_release "$1" || {
        printf 'clones of it are in use\n' >&2
        exit 1
    }
    host_rbd snap purge --no-progress "$1"
    host_rbd rm --no-progress "$1"
}

# host_there IMAGE: ends the script if there is no such image.
host_there() {
    host_has "$1" || {
        printf 'there is no image %s\n' "$1" >&2
        exit 1
    }
}

# host_take IMAGE OPTION...: makes an image of the bytes on standard input; what is there of an attempt that was cut off goes.
host_take() {
    host_remove "$1"
    trap 'host_remove "$taken"' EXIT
    taken=$1
    host_rbd import --no-progress "${@:2}" - "$1"
    trap - EXIT
}

# host_make IMAGE SIZE_MB FILE_SYSTEM OPTION...: makes an empty image; FILE_SYSTEM as for host_blank.
host_make() {
    local image=$1 size_mb=$2 file_system=$3
    host_remove "$image"
    if [[ -z $file_system ]]; then
        host_rbd create "${@:4}" --size "${size_mb}M" "$image"
        return
    fi
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    host_blank "$work/disk" "$size_mb" raw "$file_system"
    host_take "$image" "${@:4}" <"$work/disk"
    rm -rf -- "$work"
}

# host_resize IMAGE SIZE_MB: makes an image larger, never smaller; one of that size is as it should be.
host_resize() {
    local said
    said=$(host_rbd resize --no-progress --size "${2}M" "$1" 2>&1 >/dev/null) || [[ $said == *'equal to original size'* ]] || {
        printf '%s\n' "${said##*$'\n'}" >&2
        exit 1
    }
}

# host_snap_remove IMAGE SNAPSHOT: removes a snapshot; one that is not there is as it should be.
host_snap_remove() {
    host_has "$1@$2" || return 0
    host_rbd snap rm --no-progress "$1@$2"
}

# host_flatten IMAGE SNAPSHOT: the image goes back to a snapshot and keeps none.
host_flatten() {
    host_rbd snap rollback --no-progress "$1@$2"
    host_release "$1"
    host_rbd snap purge --no-progress "$1"
}

host_df() { ceph "${ceph[@]}" df detail --format xml; }

# pool_capacity POOL: prints what a pool holds, in MiB; a quota bounds it.
pool_capacity() {
    local of="pools/pool[name=$1]" figures
    figures=$(ceph_says "Cannot measure the pool $1" "$host" host_df) || exit 1
    read_texts "$of/stats/stored" "$of/stats/max_avail" "$of/stats/quota_bytes" <<<"$figures"
    [[ ${texts[0]} =~ ^[0-9]+$ && ${texts[1]} =~ ^[0-9]+$ ]] || fail "The cluster has no pool $1"
    local used=${texts[0]} free=${texts[1]} quota=${texts[2]:-0}
    ((quota == 0 || quota - used >= free)) || free=$((quota > used ? quota - used : 0))
    printf 'USED_MB=%d\nTOTAL_MB=%d\nFREE_MB=%d\n' $((used >> 20)) $(((used + free) >> 20)) $((free >> 20))
}

# ask_volume VM_ID DISK_PATH DS_ID: asks oned about a disk of the VM and the datastore it lies in. Sets what read_ceph sets, and `source`, its image (empty
# if it has none), `volume`, the image in the pool that it is, `own`, whether that is of this VM alone, `written`,
# whether what the guest writes stays in the image, `file_system`, `lcm_state`, `deploy_id`, and
# `grown_mb` as ask_disk does.
ask_volume() {
    local document disk_id=${2##*/disk.} disk clone
    document=$(onedatastore show -x "$3") || fail "Cannot ask oned about datastore $3"
    read_ceph /DATASTORE <<<"$document"
    disk="TEMPLATE/DISK[DISK_ID=$disk_id]"
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    read_texts "$disk/DISK_ID" "$disk/SOURCE" "$disk/CLONE" "$disk/FS" "$disk/SIZE" "$disk/ORIGINAL_SIZE" "$disk/SAVE" LCM_STATE DEPLOY_ID <<<"$document"
    [[ -n ${texts[0]} ]] || fail "VM $1 has no disk $disk_id"
    source=${texts[1]} clone=${texts[2]} file_system=${texts[3]} written=${texts[6]} lcm_state=${texts[7]} deploy_id=${texts[8]}
    grown_mb=${texts[4]:-0}
    ((grown_mb > ${texts[5]:-grown_mb})) || grown_mb=0
    own=yes volume=${source:-$pool/one-sys}-$1-$disk_id
    [[ -z $source || $clone == YES ]] || own=no volume=$source
}

# cluster_host HOST: sets `host`, where the cluster is reached for a disk on HOST: there, but by one of BRIDGE_LIST where HOST is the front-end.
cluster_host() {
    host=$1
    [[ $1 != "$(hostname)" ]] || choose_host $$
}
