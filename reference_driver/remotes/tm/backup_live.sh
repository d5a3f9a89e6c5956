#!/bin/bash
# Copying the disks of a running VM through libvirt: a push backup, with a checkpoint where increments are made. Sourced after backup_disks.sh.
#
# libvirt's checkpoints are dirty bitmaps of the same names as those of backup_disks.sh, so that backups of a VM that runs and of one that is off
# follow each other. libvirt forgets checkpoints with the domain; their bitmaps stay in the disks, and it can be told of them again.

# host_virsh WORD...: talks to the libvirt of the host.
host_virsh() {
    virsh -q -c "${LIBVIRT_URI:-qemu:///system}" "$@"
}

# host_backup_live FOLDER DIRECTORY VM_ID INCREMENT LAST DOCUMENT DOMAIN FREEZE DISK_WORD...
host_backup_live() {
    local folder=$1 directory=$2 vm=$3 increment=$4 last=$5 domain=$7 freeze=$8 word disk format target mode name
    local backup="" checkpoint="" known="" files=()
    host_new_folder "$folder" "$6"
    if [[ $last != off ]]; then
        for name in $(host_checkpoints "$domain" "$directory" "${@:9}" | sort -u); do
            [[ $name == "one-$vm-"* ]] || continue
            host_know "$domain" "$directory" "$name" "$folder/known.part" "${@:9}"
            [[ $name == "one-$vm-$last" ]] || host_virsh checkpoint-delete "$domain" "$name" >/dev/null
        done
        [[ $last == -1 ]] || known=$(host_virsh checkpoint-dumpxml "$domain" "one-$vm-$last" 2>/dev/null) || known=""
    fi
    for word in "${@:9}"; do
        IFS=: read -r disk format target <<<"$word"
        mode="backupmode='full'"
        if [[ $format == qcow2 ]]; then
            checkpoint+="<disk name='$target' checkpoint='bitmap'/>"
            [[ $known != *"<disk name='$target' checkpoint='bitmap'"* ]] || mode="backupmode='incremental' incremental='one-$vm-$last'"
        fi
        host_make_target "$folder/disk.$disk.$increment" "$directory/disk.$disk" "$format"
        backup+="<disk name='$target' backup='yes' type='file' $mode><driver type='qcow2'/><target file='$folder/disk.$disk.$increment'/></disk>"
    done
    printf '%s\n' "<domainbackup mode='push'><disks>$backup</disks></domainbackup>" >"$folder/backup.part"
    files=(--reuse-external --backupxml "$folder/backup.part")
    if [[ $last != off && -n $checkpoint ]]; then
        printf '%s\n' "<domaincheckpoint><name>one-$vm-$increment</name><disks>$checkpoint</disks></domaincheckpoint>" >"$folder/checkpoint.part"
        files+=(--checkpointxml "$folder/checkpoint.part")
    fi
    host_push "$domain" "$freeze" "${files[@]}"
    rm -f -- "$folder"/*.part
    for word in "${@:9}"; do
        IFS=: read -r disk format target <<<"$word"
        [[ $known != *"<disk name='$target' checkpoint='bitmap'"* ]] ||
            qemu-img rebase -u -f qcow2 -F qcow2 -b "disk.$disk.$last" "$folder/disk.$disk.$increment"
    done
}

# host_make_target FILE DISK FORMAT: makes the image that a disk is backed up to. libvirt would make it as root, and QEMU, which runs as oneadmin, could
# not open it.
host_make_target() {
    local size
    size=$(qemu-img info -U -f "$3" --output=json -- "$2" | sed -n 's/^    "virtual-size": \([0-9]*\).*/\1/p')
    qemu-img create -q -f qcow2 -- "$1" "$size"
}

# host_checkpoints DOMAIN DIRECTORY DISK_WORD...: prints the names of the checkpoints that libvirt knows, and of bitmaps that lie in the disks.
host_checkpoints() {
    local word
    host_virsh checkpoint-list "$1" --name
    for word in "${@:3}"; do
        [[ $word != *:qcow2:* ]] || host_bitmap_names "$2/disk.${word%%:*}"
    done
}

# host_know DOMAIN DIRECTORY NAME FILE DISK_WORD...: tells libvirt of a checkpoint whose bitmaps lie in the disks, unless it knows it.
host_know() {
    local word disks=""
    ! host_virsh checkpoint-info "$1" "$3" >/dev/null 2>&1 || return 0
    for word in "${@:5}"; do
        [[ $word != *:qcow2:* ]] || ! host_bitmap_names "$2/disk.${word%%:*}" | grep -qxF -- "$3" ||
            disks+="<disk name='${word##*:}' checkpoint='bitmap' bitmap='$3'/>"
    done
    printf "<domaincheckpoint><name>%s</name><creationTime>%(%s)T</creationTime><disks>%s</disks></domaincheckpoint>\n" "$3" -1 "$disks" >"$4"
    host_virsh checkpoint-create "$1" --xmlfile "$4" --redefine >/dev/null
}

# host_push DOMAIN FREEZE WORD...: has libvirt make a backup and waits for its end. The guest stands still only while the backup begins: from then on
# libvirt keeps the disks as they were at that moment. AGENT asks the guest to flush and freeze its file systems; SUSPEND halts it.
host_push() {
    local job
    # not local, as the trap may need them when the function is left
    guest=$1 halted=$2
    trap 'host_virsh domjobabort "$guest" >/dev/null 2>&1 || :; host_thaw "$guest" "$halted"' EXIT
    case $2 in
        AGENT) host_virsh domfsfreeze "$1" >/dev/null ;;
        SUSPEND) host_virsh suspend "$1" >/dev/null ;;
    esac
    host_virsh backup-begin "$1" "${@:3}" >/dev/null
    host_thaw "$1" "$2"
    trap 'host_virsh domjobabort "$guest" >/dev/null 2>&1 || :' EXIT
    while job=$(host_virsh domjobinfo "$1") && [[ ! $job =~ Job\ type:\ +None ]]; do sleep 0.2; done
    job=$(host_virsh domjobinfo "$1" --completed)
    [[ $job =~ Job\ type:\ +Completed ]] || {
        printf 'the backup job of %s ended with: %s\n' "$1" "${job%%$'\n'*}" >&2
        exit 1
    }
    trap - EXIT
}

# host_thaw DOMAIN FREEZE: lets the guest go on.
host_thaw() {
    case $2 in
        AGENT) host_virsh domfsthaw "$1" >/dev/null || : ;;
        SUSPEND) host_virsh resume "$1" >/dev/null || : ;;
    esac
}
