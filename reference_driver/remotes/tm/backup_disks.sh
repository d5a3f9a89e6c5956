#!/bin/bash
# Copying the disks of a VM for a backup.
#
# A full backup has each disk whole, as a qcow2 image disk.<disk>.0. For increments, a qcow2 disk carries a dirty bitmap since the last one,
# named as the checkpoint one-<VM>-<increment>: what it marks goes into disk.<disk>.<increment>, an overlay to the file of the increment before.
# A disk that has no such bitmap, as every raw one, goes whole into each increment.
# shellcheck disable=SC2034,SC2154 # set for the scripts, and by backup_common.sh

# shellcheck source=../backup_common.sh
source "${BASH_SOURCE[0]%/*}/../backup_common.sh"

# read_backup: takes the VM from standard input: sets `increment`, the number of the one to make, `last_increment`, the one before or -1,
# `deploy_id`, `freeze`, `document_base64`, and in `disk_words` a word for each disk of the list: id:format:target.
read_backup() {
    local document mode disk paths=()
    document=$(cat)
    for disk in "${disks[@]}"; do
        paths+=("TEMPLATE/DISK[DISK_ID=$disk]/FORMAT" "TEMPLATE/DISK[DISK_ID=$disk]/DRIVER" "TEMPLATE/DISK[DISK_ID=$disk]/TARGET")
    done
    read_texts DEPLOY_ID BACKUPS/BACKUP_CONFIG/MODE BACKUPS/BACKUP_CONFIG/LAST_INCREMENT_ID BACKUPS/BACKUP_CONFIG/FS_FREEZE "${paths[@]}" <<<"$document"
    deploy_id=${texts[0]} mode=${texts[1]} last_increment=${texts[2]:--1} freeze=${texts[3]:-NONE}
    # without increments nobody will ask for a bitmap
    [[ $mode == INCREMENT ]] || last_increment=off
    increment=0
    [[ ! $last_increment =~ ^[0-9]+$ ]] || increment=$((last_increment + 1))
    disk_words=()
    for disk in "${!disks[@]}"; do
        mode=${texts[4 + 3 * disk]:-${texts[5 + 3 * disk]:-raw}}
        disk_words+=("${disks[disk]}:$mode:${texts[6 + 3 * disk]}")
    done
    document_base64=$(base64 -w 60 <<<"$document")
}

# host_drop_folder FOLDER: removes a backup folder, and what an earlier attempt has left beside it.
host_drop_folder() {
    [[ $1 == */backup ]] && rm -rf -- "$1"
}

# host_new_folder FOLDER DOCUMENT: makes a backup folder with vm.xml in it; what an earlier attempt has left goes.
host_new_folder() {
    host_drop_folder "$1"
    mkdir -p -- "$1"
    printf '%s\n' "$2" >"$1/vm.xml"
}

# host_backup FOLDER DIRECTORY VM_ID INCREMENT LAST DOCUMENT DISK_WORD...
host_backup() {
    local folder=$1 directory=$2 vm=$3 increment=$4 last=$5 word disk format copy
    host_new_folder "$folder" "$6"
    for word in "${@:7}"; do
        IFS=: read -r disk format _ <<<"$word"
        copy=$folder/disk.$disk.$increment
        disk=$directory/disk.$disk
        if [[ $format == qcow2 && $last =~ ^[0-9]+$ ]] && host_has_bitmap "$disk" "one-$vm-$last"; then
            host_copy_changes "$disk" "one-$vm-$last" "$copy" "disk.${word%%:*}.$last"
        else
            qemu-img convert -q -f "$format" -O qcow2 "$disk" "$copy"
        fi
        [[ $format != qcow2 || $last == off ]] || host_next_bitmap "$disk" "$vm" "$increment" "$last"
    done
}

# host_bitmaps DISK: prints the names of the dirty bitmaps of a qcow2 disk that can be used.
host_bitmaps() {
    qemu-img info -f qcow2 --output=json -- "$1" |
        awk '/"flags": \[/ { flags = 1; unfit = 0 } flags && /in-use/ { unfit = 1 } /\]/ { flags = 0 }
            /"name": "one-/ { split($0, part, "\""); if (!unfit) print part[4] }'
}

# host_bitmap_names DISK: prints the names of all of them; a running VM may have the disk open.
host_bitmap_names() {
    qemu-img info -U -f qcow2 --output=json -- "$1" | sed -n 's/.*"name": "\(one-[0-9]*-[0-9]*\)".*/\1/p'
}

# host_has_bitmap DISK NAME
host_has_bitmap() {
    local name
    while IFS= read -r name; do
        [[ $name != "$2" ]] || return 0
    done < <(host_bitmaps "$1")
    return 1
}

# host_next_bitmap DISK VM_ID INCREMENT LAST: begins a bitmap for the next increment. That of the last one stays until the next backup: should
# this one not come to its store, the next will be one from there again.
host_next_bitmap() {
    local name
    while IFS= read -r name; do
        [[ $name == "one-$2-$4" ]] || qemu-img bitmap --remove -f qcow2 "$1" "$name"
    done < <(host_bitmap_names "$1")
    qemu-img bitmap --add -f qcow2 "$1" "one-$2-$3"
}

# host_copy_changes DISK BITMAP COPY BELOW: makes an overlay to BELOW with what the bitmap marks. An overlay to the disk itself is made first; reading
# a stretch through it with copy-on-read takes that stretch along.
host_copy_changes() {
    local disk=$1 bitmap=$2 copy=$3 below=$4 map start length command words=()
    # not local, as the trap may need them when the function is left; the path of a socket must be short
    server="" sockets=$(mktemp -d)
    trap 'kill $server 2>/dev/null || :; rm -rf -- "$sockets"' EXIT
    qemu-nbd --read-only --persistent --shared=8 -f qcow2 -B "$bitmap" -k "$sockets/nbd" "$disk" &
    server=$!
    for ((start = 0; start < 100; start++)); do
        [[ ! -S $sockets/nbd ]] || break
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    # a dirty stretch has "data": false there
    map=$(qemu-img map --output=json --image-opts \
        "driver=nbd,server.type=unix,server.path=$sockets/nbd,x-dirty-bitmap=qemu:dirty-bitmap:$bitmap")
    kill "$server"
    wait "$server" 2>/dev/null || :
    rm -rf -- "$sockets"
    trap - EXIT
    qemu-img create -q -f qcow2 -F qcow2 -b "$disk" "$copy"
    while IFS= read -r command; do
        [[ $command == *'"data": false'* && $command =~ \"start\":\ ([0-9]+),\ \"length\":\ ([0-9]+) ]] || continue
        start=${BASH_REMATCH[1]} length=${BASH_REMATCH[2]}
        while ((length > 0)); do
            # a read is bounded to less than 2 GiB
            words+=("read $start $((length < 1 << 30 ? length : 1 << 30))")
            start=$((start + (1 << 30))) length=$((length - (1 << 30)))
        done
    done <<<"$map"
    ((${#words[@]} == 0)) || printf '%s\n' "${words[@]}" | qemu-io -C -f qcow2 "$copy" >/dev/null
    qemu-img rebase -u -f qcow2 -F qcow2 -b "$below" "$copy"
}
