#!/bin/bash
# What the drivers of backup datastores share: their store, and chains of increments.
#
# A store keeps backups, each a set of files: vm.xml and disk.<disk>.<increment>. A driver's own part is store.sh in its directory:
#   store_attributes            attributes of the datastore that it needs; store_protocol  the protocol of its pseudo-URLs
#   store_open                  looks at what the attributes say, in the array `setting`
#   store_put HOST FOLDER VM_ID TOKEN     keeps the files of a folder on a host (empty: this one); sets `backup_id`
#   store_discard VM_ID TOKEN   removes what a store_put with that token has left that did not succeed
#   store_path VM_ID ID         prints the directory that stands in pseudo-URLs; store_files VM_ID ID  the names of the files
#   store_get VM_ID ID NAME FILE          copies a file of a backup to here
#   store_remove VM_ID ID...    removes backups, those that are gone already, too
#   store_capacity              prints USED_MB, TOTAL_MB and FREE_MB
# shellcheck disable=SC2034,SC2154 # set for the scripts and for store.sh, and there

# shellcheck source=../backup_common.sh
source "${BASH_SOURCE[0]%/*}/../backup_common.sh"

declare -A setting

# open_store DOCUMENT DIRECTORY: takes the attributes of the backup datastore out of a document in which it is the root or below the
# root, and makes the driver of that directory ready.
open_store() {
    local name paths=() n=0
    # shellcheck source=backup/store.sh
    source "$2/store.sh"
    for name in ID BASE_PATH "${store_attributes[@]/#/TEMPLATE/}"; do
        paths+=("DATASTORE/$name" "/DATASTORE/$name")
    done
    read_texts "${paths[@]}" <<<"$1"
    for name in ID BASE_PATH "${store_attributes[@]}"; do
        setting[$name]=${texts[n]:-${texts[n + 1]}}
        n=$((n + 2))
    done
    [[ ${setting[ID]} =~ ^[0-9]+$ && -n ${setting[BASE_PATH]} ]] || fail "The document has no backup datastore"
    setting[BASE_PATH]=$(fix_dir_slashes "${setting[BASE_PATH]%/}")
    store_open
}

# new_token: prints a name that no other backup has had.
new_token() {
    printf '%(%s)T-%x-%04x%04x\n' -1 $$ $RANDOM $RANDOM
}

# read_chain DOCUMENT [INCREMENT]: takes a backup image out of a document: sets `image_id`, `vm_id`, `job_id`, and the arrays
# `increments` and `backups`, from the full backup to the increment, -1 or none being the last.
read_chain() {
    local document=$1 last=${2:--1} count n paths=()
    count=$(grep -o '<INCREMENT>' <<<"$document" | wc -l) || :
    for ((n = 1; n <= count; n++)); do
        paths+=("IMAGE/BACKUP_INCREMENTS/INCREMENT[$n]/ID" "IMAGE/BACKUP_INCREMENTS/INCREMENT[$n]/SOURCE")
    done
    read_texts IMAGE/ID IMAGE/SOURCE IMAGE/VMS/ID IMAGE/TEMPLATE/BACKUP_JOB_ID "${paths[@]}" <<<"$document"
    image_id=${texts[0]} vm_id=${texts[2]} job_id=${texts[3]}
    increments=() backups=()
    for ((n = 4; n < ${#texts[@]}; n += 2)); do
        increments+=("${texts[n]}")
        backups+=("${texts[n + 1]}")
        [[ ${texts[n]} != "$last" ]] || break
    done
    # a full backup has no increments
    if ((${#increments[@]} == 0)) && [[ -n ${texts[1]} ]]; then
        increments=(0)
        backups=("${texts[1]}")
    fi
    ((${#backups[@]})) || fail "The document has no backup image"
    [[ $last == -1 || $last == "${increments[-1]}" ]] || fail "Backup $image_id has no increment $last"
    [[ $vm_id =~ ^[0-9]+$ ]] || fail "Backup $image_id belongs to no VM"
    for n in "${backups[@]}"; do
        [[ $n =~ ^[0-9a-zA-Z-]+$ ]] || fail "'$n' is no backup of this datastore"
    done
}

# read_url URL: takes a pseudo-URL apart: sets `store_id`, `vm_id`, `disk`, and the arrays `increments` and `backups`.
read_url() {
    local pair
    [[ $1 =~ ^(restic|rsync)://([0-9]+)/([0-9]*/)?([0-9]+:[^/]+)/(.*/)?([0-9]+)/[^/]+/disk\.([0-9]+)\.[0-9]+$ ]] || fail "'$1' is no disk in a backup"
    store_id=${BASH_REMATCH[2]} vm_id=${BASH_REMATCH[6]} disk=${BASH_REMATCH[7]}
    increments=() backups=()
    while IFS= read -r -d , pair; do
        [[ $pair =~ ^([0-9]+):([0-9a-zA-Z-]+)$ ]] || fail "'$pair' in '$1' is no backup of this datastore"
        increments+=("${BASH_REMATCH[1]}")
        backups+=("${BASH_REMATCH[2]}")
    done <<<"${BASH_REMATCH[4]},"
}

# chain_text: prints the chain in the form of pseudo-URLs and of increment_flatten.
chain_text() {
    local n text=""
    for n in "${!increments[@]}"; do text+=",${increments[n]}:${backups[n]}"; done
    printf '%s\n' "${text#,}"
}

# read_urls DISK: sets the array `urls`: a pseudo-URL for a disk of the last backup of the chain; -1 for each of them.
read_urls() {
    local name files directory job=${job_id}/
    urls=()
    case $contract in 6.[0-7].*) job="" ;; esac
    files=$(store_files "$vm_id" "${backups[-1]}" 2>&1) || fail "Cannot look into the backup ${backups[-1]}: $files"
    directory=$(store_path "$vm_id" "${backups[-1]}" 2>&1) || fail "Cannot look into the backup ${backups[-1]}: $directory"
    while IFS= read -r name; do
        [[ $name =~ ^disk\.([0-9]+)\.[0-9]+$ ]] || continue
        [[ $1 == -1 || $1 == "${BASH_REMATCH[1]}" ]] || continue
        urls[BASH_REMATCH[1]]="$store_protocol://${setting[ID]}/$job$(chain_text)$directory/$name"
    done <<<"$files"
    ((${#urls[@]})) || fail "The backup ${backups[-1]} does not hold disk $1"
}

# fetch_disk DISK DIRECTORY: copies what belongs to a disk from the chain into a directory, from the last increment back to a file that
# is whole by itself; sets `disk_file`, a qcow2 image that may be backed by others in that directory.
fetch_disk() {
    local disk=$1 directory=$2 n file above=""
    disk_file=""
    for ((n = ${#backups[@]} - 1; n >= 0; n--)); do
        file=$directory/disk.$disk.${increments[n]}
        store_get "$vm_id" "${backups[n]}" "${file##*/}" "$file"
        [[ -n $disk_file ]] || disk_file=$file
        # the names of the files below are known from the chain, and nothing else is trusted
        [[ -z $above ]] || attempt "Cannot join the increments of disk $disk" qemu-img rebase -u -f qcow2 -F qcow2 -b "$file" "$above"
        needs_backing "$file" || return 0
        above=$file
    done
    fail "The backup of disk $disk is not whole: its first increment refers to an earlier one"
}

# scratch DIRECTORY: makes a place for what is fetched (`scratch`), which goes when the script ends.
scratch() {
    mkdir -p -- "$1" || fail "Cannot make $1"
    scratch=$(mktemp -d -- "$1/.fetch.XXXXXXXX") || fail "Cannot make a directory in $1"
    trap 'rm -rf -- "$scratch"' EXIT
    trap 'fail "Fetching the backup was cut off"' TERM INT HUP
}

# fetch_vm: sets `vm_document`, the VM as it was when the last backup of the chain was made. It needs a place of `scratch`.
fetch_vm() {
    store_get "$vm_id" "${backups[-1]}" vm.xml "$scratch/vm.xml"
    vm_document=$(base64 -d <"$scratch/vm.xml") || fail "The backup ${backups[-1]} has no VM in its vm.xml"
}

# needs_backing FILE: whether a qcow2 image is an increment to another.
needs_backing() {
    local said
    said=$(qemu-img info -U -f qcow2 --output=json -- "$1" 2>&1) || fail "Cannot read ${1##*/} of the backup: $said"
    [[ $said == *$'\n    "backing-filename":'* ]]
}
