#!/bin/bash
# Keeps backups in a plain directory of a backup host: BASE_PATH/<VM id>/<backup>. Files travel through tar over ssh.
# See ../backup_chain.sh for what these functions do.
# shellcheck disable=SC2034,SC2154

store_attributes=(BACKUP_HOST BACKUP_USER)
store_protocol=rsync

store_open() {
    [[ -n ${setting[BACKUP_HOST]} ]] || fail "The backup datastore has no BACKUP_HOST"
    login=${setting[BACKUP_USER]:+${setting[BACKUP_USER]}@}${setting[BACKUP_HOST]}
}

# host_send FOLDER LOGIN TARGET: runs where the folder is. The target appears at once and whole.
host_send() {
    local folder=$1 login=$2 target=$3 part
    printf -v target %q "$target"
    part=$target.part
    tar -C "$folder" -cS . | ssh -o BatchMode=yes "$login" "umask 0007; mkdir -p -- $part && tar -C $part -xS"
    ssh -o BatchMode=yes "$login" "mv -T -- $part $target"
}

store_put() {
    backup_id=$4
    work_on_host "$1" host_send "$2" "$login" "$(store_path "$3" "$backup_id")" || fail "Cannot store the backup of VM $3: $said"
}

store_discard() {
    local target
    target=$(store_path "$1" "$2")
    try_on_host "$login" host_drop "${setting[BASE_PATH]}/$1" "$target" "$target.part"
}

store_path() {
    printf '%s/%s/%s\n' "${setting[BASE_PATH]}" "$1" "$2"
}

store_files() {
    ssh -n -o BatchMode=yes "$login" "ls -- $(printf %q "$(store_path "$1" "$2")")"
}

store_get() {
    local source
    source=$(store_path "$1" "$2")/$3
    said=$(ssh -n -o BatchMode=yes "$login" "cat -- $(printf %q "$source")" 2>&1 >"$4") || fail "Cannot fetch $source from $login: $said"
}

# host_drop VM_DIRECTORY BACKUP...: removes backups, and the directory of the VM with the last one.
host_drop() {
    rm -rf -- "${@:2}"
    rmdir -- "$1" 2>/dev/null || :
}

store_remove() {
    local paths=() id
    for id in "${@:2}"; do paths+=("$(store_path "$1" "$id")"); done
    on_host "Cannot remove backups of VM $1" "$login" host_drop "${setting[BASE_PATH]}/$1" "${paths[@]}"
}

store_capacity() {
    work_on_host "$login" host_figures "${setting[BASE_PATH]}" || fail "Cannot measure ${setting[BASE_PATH]} on $login: $said"
    capacity "${setting[BASE_PATH]}" "$said"
}
