#!/bin/bash
# The helper runtime: the functions that every OpenNebula front-end offers to driver scripts.
#
# Sourced, never run. It works with and without `set -euo pipefail` in the script that sources it, and leaves the shell's options alone.
# A front-end has its own copy of this file, with more in it; drivers should lean on nothing but what is here.

export LANG=C LC_ALL=C
export PATH="${PATH:-}:/usr/bin:/bin:/usr/sbin:/sbin${ONE_LOCATION:+:$ONE_LOCATION/bin}"

# Tools by the names that drivers use; the environment may replace each.
: "${AWK:=awk}" "${BASE64:=base64}" "${CP:=cp}" "${CURL:=curl}" "${DD:=dd}" "${DF:=df}" "${DU:=du}" "${GREP:=grep}" "${LN:=ln}"
: "${MD5SUM:=md5sum}" "${MKDIR:=mkdir}" "${MKSWAP:=mkswap}" "${MV:=mv}" "${QEMU_IMG:=qemu-img}" "${READLINK:=readlink}" "${RM:=rm}"
: "${RSYNC:=rsync}" "${SCP:=scp}" "${SED:=sed}" "${SSH:=ssh}" "${SUDO:=sudo}" "${TAR:=tar}" "${TOUCH:=touch}"

# log_info, log_error, log_debug, log_warning TEXT: one line for the log of the VM. The name in front keeps a number that TEXT may
# begin with from being read as the id of an object.
log_info() { printf 'INFO: %s: %s\n' "${0##*/}" "${1//$'\n'/ }" >&2; }
log_error() { printf 'ERROR: %s: %s\n' "${0##*/}" "${1//$'\n'/ }" >&2; }
log_debug() { printf 'DEBUG: %s: %s\n' "${0##*/}" "${1//$'\n'/ }" >&2; }
log_warning() { printf 'WARN: %s: %s\n' "${0##*/}" "${1//$'\n'/ }" >&2; }

# log TEXT: the same as log_info.
log() { log_info "$1"; }

# error_message TEXT: what the user is told when the action fails. oned took it from between two separators until 6.0.2; since then
# it is the line without a prefix.
error_message() {
    local version=""
    # the file may lack a newline at its end, which read reports as a failure
    [[ ! -r ${BASH_SOURCE[0]%/*}/VERSION ]] || read -r version <"${BASH_SOURCE[0]%/*}/VERSION" || :
    case $version in
        [0-5].* | 6.0.[0-2])
            printf 'ERROR MESSAGE --8<------\n%s\nERROR MESSAGE ------>8--\n' "$1" >&2
            ;;
        *)
            printf '%s\n' "${1//$'\n'/ }" >&2
            ;;
    esac
}

# arg_host HOST:PATH and arg_path HOST:PATH print one half; the first colon divides.
arg_host() { printf '%s\n' "${1%%:*}"; }
arg_path() { fix_dir_slashes "${1#*:}"; }

# fix_dir_slashes PATH prints it without doubled slashes.
fix_dir_slashes() {
    local path=$1
    while [[ $path == *//* ]]; do path=${path//\/\//\/}; done
    printf '%s\n' "$path"
}

# end_with STATUS COMMAND OUTPUT [TEXT]: logs the command that failed, tells the user TEXT, ends the script.
end_with() {
    log_error "Command \"$2\" failed: $3"
    error_message "${4:-Error executing $2: $3}"
    exit "$1"
}

# exec_and_log COMMAND [TEXT]: runs a shell command line; if it fails, tells the user TEXT and ends the script.
exec_and_log() {
    local output status=0
    output=$(eval "$1" 2>&1 >/dev/null) || status=$?
    ((status == 0)) || end_with "$status" "$1" "$output" "${2:-}"
    log_info "Executed \"$1\"."
}

# timeout_exec_and_log SECONDS COMMAND [TEXT]: the same, for a command that may take no longer than that.
timeout_exec_and_log() {
    local output status=0
    output=$(timeout "$1" bash -c "$2" 2>&1 >/dev/null) || status=$?
    ((status != 124)) || output="timeout of $1 s"
    ((status == 0)) || end_with "$status" "$2" "$output" "${3:-}"
    log_info "Executed \"$2\"."
}

# ssh_exec_and_log HOST COMMAND [TEXT]: runs shell commands on a host; if they fail, tells the user TEXT and ends the script.
ssh_exec_and_log() {
    local output status=0
    output=$("$SSH" "$1" bash -s <<<"export LANG=C LC_ALL=C"$'\n'"$2" 2>&1 >/dev/null) || status=$?
    ((status == 0)) || end_with "$status" "$2" "$output" "${3:-Error executing on $1: $output}"
}

# make_path DIRECTORY and ssh_make_path HOST DIRECTORY [TM_MAD] make a directory where there is none. With TM_MAD the datastore
# above it is marked as one that is monitored on its host.
make_path() { [[ -d $1 ]] || exec_and_log "mkdir -p -- $(printf %q "$1")" "Cannot make directory $1"; }
ssh_make_path() {
    local directory mark=":"
    printf -v directory %q "$2"
    [[ -z ${3:-} ]] || printf -v mark 'echo %q >%q' "$3" "${2%/*}/.monitor"
    ssh_exec_and_log "$1" "[ -d $directory ] || { mkdir -p -- $directory && $mark; }" "Cannot make directory $2 on $1"
}

# is_disk PATH: whether it is a disk of a VM, not its directory.
is_disk() { [[ $1 =~ /disk\.[0-9]+ ]]; }
