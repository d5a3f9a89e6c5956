#!/bin/bash
# Copying the disk of a running guest, sourced after disk_common.sh.
#
# The hypervisor lets the guest write to a layer beside the disk (DISK.live); the disk then stands still and is copied; at last the layer is
# merged into it and the guest writes to the disk again. So the files are the same as before, and so is what oned knows of them.
# shellcheck disable=SC2154 # disk_common.sh sets remotes

# where the hypervisor of hosts listens; a front-end says it in remotes/etc/vmm/kvm/kvmrc
hypervisor=qemu:///system
if [[ -r $remotes/etc/vmm/kvm/kvmrc ]]; then
    # shellcheck disable=SC1091 # the front-end's own file
    hypervisor=$(source "$remotes/etc/vmm/kvm/kvmrc" >/dev/null && printf %s "${LIBVIRT_URI:-$hypervisor}")
fi

# host_live URI DOMAIN DISK FUNCTION ARGUMENT...: runs a host function that reads the disk, while the disk stands still. FUNCTION_undo, if there is
# one, takes away what it has made when the guest cannot be brought back to the disk: the action fails then, and nobody would look for it.
host_live() {
    local disk=$3 name file others=()
    uri=$1 domain=$2 layer=$3.live target=""
    shift 3
    while read -r name file; do
        if [[ $file == /* && ($file -ef $disk || $file -ef $layer) ]]; then
            target=$name
            # the layer of an earlier attempt that was cut off: the guest still writes to it
            [[ ! $file -ef $layer ]] || host_merge
        elif [[ -n $file ]]; then
            others+=(--diskspec "$name,snapshot=no")
        fi
    done < <(virsh -q -c "$uri" domblklist "$domain")
    [[ -n $target ]] || {
        printf 'the hypervisor knows no disk %s of %s\n' "$disk" "$domain" >&2
        exit 1
    }
    # one that was merged, and not removed
    rm -f -- "$layer"
    # libvirt would make the layer as root, and QEMU, which runs as oneadmin, could not open it
    : >"$layer"
    # a guest that can is asked to bring its file systems in order first; it waits only while the layer is made
    trap 'host_thaw; host_unmake' EXIT
    virsh -q -c "$uri" domfsfreeze "$domain" >/dev/null 2>&1 || :
    virsh -q -c "$uri" snapshot-create-as "$domain" --no-metadata --disk-only --atomic \
        --diskspec "$target,snapshot=external,file=$layer" "${others[@]}" >/dev/null
    trap 'host_thaw; host_merge' EXIT
    host_thaw
    # in a shell of its own, as it may have something of its own to clean up
    ("$@")
    trap - EXIT
    host_merge && return
    ! declare -F "$1_undo" >/dev/null || "$1_undo" "${@:2}"
    return 1
}

# host_thaw: the guest may write again; one that was not frozen does anyway.
host_thaw() {
    virsh -q -c "$uri" domfsthaw "$domain" >/dev/null 2>&1 || :
}

# host_unmake: a layer that could not be laid over the disk goes, unless the guest writes to it all the same.
host_unmake() {
    local used
    ! used=$(virsh -q -c "$uri" domblklist "$domain") || [[ $used == *"$layer"* ]] || rm -f -- "$layer"
}

# host_merge: what the guest has written to the layer goes into the disk, and nothing into what the disk refers to.
host_merge() {
    virsh -q -c "$uri" blockcommit "$domain" "$target" --shallow --active --pivot >/dev/null && rm -f -- "$layer"
}
