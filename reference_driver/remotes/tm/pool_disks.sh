#!/bin/bash
# What the transfer actions of libvirt_pool share: the volumes that are disks of VMs.
#
# A disk is the volume one-<VM id>-<disk id>, or for a persistent image that of the image. Where a volume has a path, the disk in the VM's directory is a
# link to it; the hypervisor follows it. Where it has none (rbd) the hypervisor goes by SOURCE, and the link tells the volume to people alone.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=../libvirt_common.sh
source "$remotes/libvirt_common.sh"

# name_disk VM_ID DISK_PATH: sets `volume`, the name of the volume of a disk that is the VM's own. Those of Ceph bear the names that oned writes into the
# description of the VM for the hypervisor.
name_disk() {
    local document disk_id=${2##*/disk.}
    [[ $1 =~ ^[0-9]+$ && $disk_id =~ ^[0-9]+$ ]] || fail "'$2' is no disk of VM '$1'"
    volume=one-$1-$disk_id
    [[ $pool_type == rbd ]] || return 0
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    read_texts "TEMPLATE/DISK[DISK_ID=$disk_id]/SOURCE" <<<"$document"
    if [[ -n ${texts[0]} ]]; then
        volume_of "${texts[0]}"
        volume+=-$1-$disk_id
    else
        volume=one-sys-$1-$disk_id
    fi
}

# find_disk VM_ID DISK_PATH: sets `volume`, the name of the volume that is a disk: the VM's own, or that of its persistent image.
find_disk() {
    local document disk="TEMPLATE/DISK[DISK_ID=${2##*/disk.}]"
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    read_texts "$disk/SOURCE" "$disk/CLONE" <<<"$document"
    if [[ -n ${texts[0]} && ${texts[1]} == NO ]]; then
        volume_of "${texts[0]}"
    else
        name_disk "$1" "$2"
    fi
}

# state_of VM_ID: prints the number of the state within ACTIVE that oned shows for a VM.
state_of() {
    local document
    document=$(onevm show -x "$1") || fail "Cannot ask oned about VM $1"
    read_texts LCM_STATE <<<"$document"
    printf '%s\n' "${texts[0]}"
}

# resize_volume NAME FORMAT SIZE_MB: makes a volume larger; one that libvirt takes for something else than oned does is left alone.
resize_volume() {
    look_at "$1"
    [[ $seen == "$2" || $keeps != files ]] || fail "The volume $1 is $2, but looks like $seen: it is not resized"
    ((capacity >= $3 << 20)) || grow_volume "$1" $(($3 << 20))
}

host_seat() {
    mkdir -p -- "${2%/*}"
    host_set_mark "${2%/*/*}"
    ln -sfT -- "$1" "$2"
}

# seat_disk HOST DISK_PATH VOLUME: the disk in the VM's directory becomes a link to the volume.
seat_disk() {
    look_at "$3"
    on_host "Cannot link $1:$2 to the volume $3" "$1" host_seat "$path" "$2"
}
