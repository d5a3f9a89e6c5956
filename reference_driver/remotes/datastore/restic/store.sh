#!/bin/bash
# Keeps backups in a restic repository at BASE_PATH of a host, which is reached by sftp over ssh. A backup is a snapshot of the folder.
# See ../backup_chain.sh for what these functions do.
# shellcheck disable=SC2034,SC2154

store_attributes=(RESTIC_SFTP_SERVER RESTIC_SFTP_USER RESTIC_PASSWORD)
store_protocol=restic

store_open() {
    [[ -n ${setting[RESTIC_SFTP_SERVER]} ]] || fail "The backup datastore has no RESTIC_SFTP_SERVER"
    [[ -n ${setting[RESTIC_PASSWORD]} ]] || fail "The backup datastore has no RESTIC_PASSWORD"
    login=${setting[RESTIC_SFTP_USER]:+${setting[RESTIC_SFTP_USER]}@}${setting[RESTIC_SFTP_SERVER]}
    repository=sftp:$login:${setting[BASE_PATH]}
}

# host_restic REPOSITORY PASSWORD WORD...: runs restic with these words, and waits while somebody else has the repository for himself.
# The password is in the environment: arguments can be seen by everybody.
host_restic() {
    local repository=$1 tries=0 problem
    export RESTIC_PASSWORD=$2
    problem=$(mktemp)
    until restic --no-cache --quiet -r "$repository" "${@:3}" 2>"$problem"; do
        if [[ $(<"$problem") != *"already locked"* ]] || ((++tries > 120)); then
            cat -- "$problem" >&2
            rm -f -- "$problem"
            return 1
        fi
        sleep 2
        # a lock that a dead restic has left
        restic --no-cache --quiet -r "$repository" unlock >/dev/null 2>&1 || :
    done
    rm -f -- "$problem"
}

# host_send REPOSITORY PASSWORD FOLDER TAG: runs where the folder is; prints what restic says of the new snapshot.
host_send() {
    export RESTIC_PASSWORD=$2
    # another backup may make the repository at the same time
    restic --no-cache -r "$1" cat config >/dev/null 2>&1 || restic --no-cache -r "$1" init >/dev/null 2>&1 || :
    host_restic "$1" "$2" backup --json --tag "$4" -- "$3"
}

store_put() {
    work_on_host "$1" host_send "$repository" "${setting[RESTIC_PASSWORD]}" "$2" "one-$3,$4" || fail "Cannot store the backup of VM $3: $said"
    [[ $said =~ \"snapshot_id\":\"([0-9a-f]{8}) ]] || fail "restic tells no name of the backup of VM $3: $said"
    backup_id=${BASH_REMATCH[1]}
}

store_restic() {
    host_restic "$repository" "${setting[RESTIC_PASSWORD]}" "$@"
}

store_discard() {
    local found
    found=$(store_restic snapshots --json --tag "$2") || return 0
    [[ ! $found =~ \"short_id\":\"([0-9a-f]+)\" ]] || store_restic forget --prune "${BASH_REMATCH[1]}"
}

store_path() {
    local found
    found=$(store_restic snapshots --json "$2") || return 1
    [[ $found =~ \"paths\":\[\"([^\"]+)\"\] ]] || return 1
    printf '%s\n' "${BASH_REMATCH[1]}"
}

store_files() {
    local name
    while IFS= read -r name; do
        [[ $name != */backup/* ]] || printf '%s\n' "${name##*/}"
    done < <(store_restic ls "$2")
}

store_get() {
    local directory
    directory=$(store_path "$1" "$2" 2>&1) || fail "There is no backup $2 in $repository: $directory"
    said=$(store_restic dump "$2" "$directory/$3" 2>&1 >"$4") || fail "Cannot fetch $3 of the backup $2: $said"
}

store_remove() {
    local said all present=() id
    all=$(store_restic snapshots --json 2>&1) || fail "Cannot look for the backups of VM $1: $all"
    for id in "${@:2}"; do
        [[ $all != *"\"short_id\":\"$id\""* ]] || present+=("$id")
    done
    ((${#present[@]})) || return 0
    said=$(store_restic forget --prune "${present[@]}" 2>&1) || fail "Cannot remove backups of VM $1: $said"
}

store_capacity() {
    work_on_host "$login" host_figures "${setting[BASE_PATH]}" || fail "Cannot measure ${setting[BASE_PATH]} on $login: $said"
    capacity "${setting[BASE_PATH]}" "$said"
}
