#!/bin/bash
# Keeps backups in a directory of a host as datastore/backup does, but brings them there with rsync.
# shellcheck disable=SC2034,SC2154

# shellcheck source=../backup/store.sh
source "${BASH_SOURCE[0]%/*}/../backup/store.sh"

store_attributes=(RSYNC_HOST RSYNC_USER)

store_open() {
    [[ -n ${setting[RSYNC_HOST]} ]] || fail "The backup datastore has no RSYNC_HOST"
    login=${setting[RSYNC_USER]:+${setting[RSYNC_USER]}@}${setting[RSYNC_HOST]}
}

# host_send FOLDER LOGIN TARGET: runs where the folder is. The target appears at once and whole.
host_send() {
    local folder=$1 login=$2 target=$3 part
    printf -v part %q "$target.part"
    ssh -n -o BatchMode=yes "$login" "umask 0007; mkdir -p -- $part"
    rsync -s -a --sparse -e 'ssh -o BatchMode=yes' -- "$folder/" "$login:$target.part/"
    ssh -n -o BatchMode=yes "$login" "mv -T -- $part $(printf %q "$target")"
}
