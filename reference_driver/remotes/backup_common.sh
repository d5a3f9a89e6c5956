#!/bin/bash
# What a backup needs on both sides, in the transfer driver and in the driver of the backup datastore: its arguments, and work on a
# host that takes long and can be cancelled.
#
# Sourced, never run; the scripts that source it run under `set -euo pipefail` and use the variables that it sets.
# shellcheck disable=SC2034

# shellcheck source=tm/disk_common.sh
source "${BASH_SOURCE[0]%/*}/tm/disk_common.sh"

# backup_arguments HOST:DIRECTORY [DISKS] DEPLOY_ID [JOB_ID] VM_ID DS_ID: sets `host`, `directory`, `vm_id`, the array `disks`, and
# `folder`, in which the files of the backup lie on the host. An empty list of disks vanishes from the line, and until 6.6 there is
# no job: so the rest is taken from the end. The list ended with a colon before 6.10.
backup_arguments() {
    local conf=$remotes/etc/datastore/datastore.conf setting=""
    host=$(arg_host "$1")
    directory=$(arg_path "$1")
    vm_id=${*: -2:1}
    disks=()
    [[ ! $2 =~ ^[0-9]+(:[0-9]+)*:?$ ]] || IFS=: read -ra disks <<<"$2"
    check_owner "$directory" "$vm_id"
    folder=$directory/backup
    [[ ! -r $conf ]] || setting=$(sed -n 's/^[[:space:]]*BACKUP_BASE_PATH[[:space:]]*=[[:space:]]*"\{0,1\}\([^"#]*[^"#[:space:]]\).*/\1/p' "$conf")
    [[ -z $setting ]] || folder=${setting%/}/$vm_id/backup
}

# work_on_host HOST FUNCTION ARGUMENT...: runs a host function that may take long; without a HOST it runs here. It ends when this
# script does, whatever ends that: the far end watches its standard input, which is held open here. Status and `said` are those of
# try_on_host; what the function prints is in `said` too.
work_on_host() {
    local status=0 out
    coproc work { to_host "$1"; }
    exec {out}<&"${work[0]}"
    # where the far end is gone before it has read all this, its status tells, and not SIGPIPE
    trap '' PIPE
    { host_script host_watched "${@:2}" >&"${work[1]}"; } 2>/dev/null || :
    trap - PIPE
    wait "$work_PID" || status=$?
    said=$(cat <&"$out")
    exec {out}<&-
    return "$status"
}

# to_host HOST: takes the place of this process with a shell on the host, which reads its commands from standard input.
to_host() {
    if [[ -n $1 ]]; then
        exec ssh -o BatchMode=yes "$1" bash -s 2>&1
    else
        exec bash -s 2>&1
    fi
}

# host_watched FUNCTION ARGUMENT...: runs a function, and ends it with all that it has started when standard input ends. SIGINT comes
# first: it leaves tools the time to remove their locks.
host_watched() {
    local worker watcher line never status=0
    exec {line}<&0 {never}<> <(:)
    set -m
    "$@" </dev/null {line}<&- {never}<&- &
    worker=$!
    set +m
    {
        while read -r -u "$line" _; do :; done
        kill -INT -- "-$worker"
        # a wait of the shell's own: no process is left that would wait on; that the time is up is a failure of `read`
        read -r -t 3 -u "$never" _ || :
        kill -TERM -- "-$worker"
    } >/dev/null 2>&1 &
    watcher=$!
    wait "$worker" || status=$?
    kill "$watcher" 2>/dev/null || :
    # what was just being started when SIGINT came may not have met it
    ((status <= 128)) || kill -TERM -- "-$worker" 2>/dev/null || :
    return "$status"
}

# cancellable CLEAN_UP...: from here on SIGTERM, which backup_cancel sends, makes the action fail; when it ends, by whatever cause, the
# work on the host is ended first, and then the command CLEAN_UP runs. The variable `kept` keeps it from running.
cancellable() {
    clean_up=("$@") kept=""
    trap 'fail "The backup was cancelled"' TERM INT HUP
    trap 'end_work' EXIT
}

# end_work: ends what runs on the host, and removes what is half done.
end_work() {
    trap '' TERM INT HUP
    if [[ -n ${work_PID:-} ]]; then
        line=${work[1]}
        exec {line}>&-
        wait "$work_PID" || :
    fi
    [[ -n $kept ]] || "${clean_up[@]}" >/dev/null 2>&1 || :
}
