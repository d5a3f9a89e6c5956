#!/bin/bash
# The helper runtime: the shell functions that a front-end offers to driver scripts, those of the guides and those that drivers in use call.
#
# Sourced, never run. It works with and without `set -euo pipefail` in the script that sources it, and leaves the shell's options alone.
# Functions that end the script end only the subshell where they are called in one: look at the status there.

export LANG=C LC_ALL=C
export PATH="${PATH:-}:/usr/bin:/bin:/usr/sbin:/sbin${ONE_LOCATION:+:$ONE_LOCATION/bin}"

# Tools by the names that drivers use; the environment may replace each, and some have options: they are used unquoted.
: "${AWK:=awk}" "${BASE64:=base64}" "${CP:=cp}" "${CURL:=curl}" "${CUT:=cut}" "${DATE:=date}" "${DD:=dd}" "${DF:=df}" "${DU:=du}" "${GREP:=grep}"
: "${LN:=ln}" "${LVCREATE:=lvcreate}" "${LVREMOVE:=lvremove}" "${LVS:=lvs}" "${MD5SUM:=md5sum}" "${MKDIR:=mkdir}" "${MKFS:=mkfs}"
: "${MKSWAP:=mkswap}" "${MV:=mv}" "${QEMU_IMG:=qemu-img}" "${RBD:=rbd}" "${READLINK:=readlink}" "${RM:=rm}" "${RSYNC:=rsync}" "${SCP:=scp}"
: "${SED:=sed -r}" "${SSH:=ssh}" "${SUDO:=sudo -n}" "${SYNC:=sync}" "${TAR:=tar}" "${TOUCH:=touch}" "${TR:=tr}"
: "${SSH_FWD:=ssh -o ForwardAgent=yes -o ControlMaster=no -o ControlPath=none}"
SCRIPT_NAME=${0##*/}

# --- the log, and what the user is told ---

# log_function PREFIX TEXT: one line for the log of the VM. The name in front keeps a number that TEXT may begin with from being read
# as the id of an object.
log_function() { printf '%s: %s: %s\n' "$1" "$SCRIPT_NAME" "${2//$'\n'/ }" >&2; }
log_info() { log_function INFO "$1"; }
log_error() { log_function ERROR "$1"; }
log_debug() { log_function DEBUG "$1"; }
log() { log_info "$1"; }

# error_message TEXT: what the user is told when the action fails. oned took it from between two separators until 6.0.2; since then
# it is the line without a prefix. It does not end the script.
error_message() {
    local version="" file
    for file in "${BASH_SOURCE[0]%/*}/VERSION" "${ONE_LOCATION:-/var/lib/one}${ONE_LOCATION:+/var}/remotes/VERSION"; do
        # the file may lack a newline at its end, which read reports as a failure
        [[ -n $version || ! -r $file ]] || read -r version <"$file" || :
    done
    case $version in
        [0-5].* | 6.0.[0-2])
            printf 'ERROR MESSAGE --8<------\n%s\nERROR MESSAGE ------>8--\n' "$1" >&2
            ;;
        *)
            printf '%s\n' "${1//$'\n'/ }" >&2
            ;;
    esac
}

# --- arguments and lists ---

# arg_host HOST:PATH and arg_path HOST:PATH [NOFIX] print one half; the first colon divides. NOFIX leaves slashes as they are.
arg_host() { printf '%s\n' "${1%%:*}"; }
arg_path() {
    if [[ ${2:-} == NOFIX ]]; then
        printf '%s\n' "${1#*:}"
    else
        fix_dir_slashes "${1#*:}"
    fi
}

# fix_dir_slashes PATH prints it without doubled slashes and without one at the end.
fix_dir_slashes() {
    local path=$1
    while [[ $path == *//* ]]; do path=${path//\/\//\/}; done
    [[ $path == / ]] || path=${path%/}
    printf '%s\n' "$path"
}

# contains LIST ELEMENT SEPARATOR: whether the list has that element.
contains() {
    local list=$1
    [[ -z ${3:-} ]] || list=${list//"$3"/ }
    [[ -n $2 && " $list " == *" $2 "* ]]
}

# xml_esc TEXT prints it as it stands in an XML document.
xml_esc() {
    local text=${1//&/"&amp;"}
    text=${text//</"&lt;"}
    text=${text//>/"&gt;"}
    text=${text//\'/"&apos;"}
    printf '%s\n' "${text//\"/"&quot;"}"
}

# --- commands on this machine ---

# command_failed COMMAND OUTPUT [TEXT]: logs the command, and tells the user TEXT.
command_failed() {
    log_error "Command \"$1\" failed: $2"
    error_message "${3:-Error executing $1: $2}"
}

# in_bash COMMANDS: runs them in a shell of their own.
in_bash() { bash -s <<<"export LANG=C LC_ALL=C"$'\n'"$1"; }

# exec_and_log COMMAND [TEXT]: runs one command without a shell, split at blanks; if it fails, tells the user TEXT and ends the script.
exec_and_log() {
    local output status=0 IFS=$' \t\n'
    # shellcheck disable=SC2086 # split at blanks is what is promised
    output=$($1 2>&1 >/dev/null) || status=$?
    ((status == 0)) || {
        command_failed "$1" "$output" "${2:-}"
        exit "$status"
    }
}

# multiline_exec_and_log COMMANDS [TEXT]: the same for commands that need a shell.
multiline_exec_and_log() {
    local output status=0
    output=$(in_bash "$1" 2>&1 >/dev/null) || status=$?
    ((status == 0)) || {
        command_failed "$1" "$output" "${2:-}"
        exit "$status"
    }
}

# timeout_exec_and_log SECONDS COMMAND [TEXT]: the same as exec_and_log, for a command that may take no longer than that. The status is
# 143 where it does.
timeout_exec_and_log() {
    local output status=0 IFS=$' \t\n'
    # shellcheck disable=SC2086 # split at blanks is what is promised
    output=$(timeout "$1" $2 2>&1 >/dev/null) || status=$?
    if ((status == 124)); then
        log_error "Timeout executing $2"
        error_message "${3:-Timeout executing $2}"
        exit 143
    fi
    ((status == 0)) || {
        command_failed "$2" "$output" "${3:-}"
        exit "$status"
    }
}

# exec_and_set_error COMMANDS [TEXT] and multiline_exec_and_set_error go on after a failure: ERROR is its text, empty after success.
exec_and_set_error() { multiline_exec_and_set_error "$@"; }
multiline_exec_and_set_error() {
    local output
    export ERROR=""
    if ! output=$(in_bash "$1" 2>&1 >/dev/null); then
        log_error "Command \"$1\" failed: $output"
        ERROR=${2:-Error executing $1: $output}
    fi
}

# monitor_and_log COMMANDS [TEXT]: prints what they print; if they fail, logs that and ends the script.
monitor_and_log() {
    local output status=0
    output=$(in_bash "$1" 2>/dev/null) || status=$?
    ((status == 0)) || {
        log_error "Command \"${2:-$1}\" failed: $output"
        exit "$status"
    }
    printf '%s\n' "$output"
}

# --- commands on hosts ---

# ssh_bash HOST COMMANDS: runs them in a bash on the host.
ssh_bash() {
    # shellcheck disable=SC2086 # SSH may have options
    $SSH "$1" bash -s <<<"export LANG=C LC_ALL=C"$'\n'"$2"
}

# ssh_exec_and_log HOST COMMANDS [TEXT]: if they fail, tells the user TEXT and ends the script. 255 may be ssh's own status.
ssh_exec_and_log() {
    local status=0
    ssh_exec_and_log_no_error "$@" || status=$?
    ((status == 0)) || exit "$status"
}

# ssh_exec_and_log_no_error HOST COMMANDS [TEXT] [STATUS]: the same without ending the script; STATUS is not reported either.
ssh_exec_and_log_no_error() {
    local output status=0
    output=$(ssh_bash "$1" "$2" 2>&1 >/dev/null) || status=$?
    ((status == 0)) || [[ $status == "${4:-}" ]] || command_failed "$2" "$output" "${3:-}"
    return "$status"
}

# ssh_exec_and_log_stdin HOST COMMANDS FILE [TEXT]: the commands of a file come first.
ssh_exec_and_log_stdin() { ssh_exec_and_log "$1" "$(<"$3")"$'\n'"$2" "${4:-Error executing $2}"; }

# ssh_monitor_and_log HOST COMMANDS [TEXT]: prints what they print; if they fail, logs that and ends the script.
ssh_monitor_and_log() {
    local output status=0
    output=$(ssh_bash "$1" "$2" 2>/dev/null) || status=$?
    ((status == 0)) || {
        log_error "Command \"${3:-$2}\" failed: $output"
        exit "$status"
    }
    printf '%s\n' "$output"
}

# ssh_forward FUNCTION ARGUMENT...: with the keys of this machine's agent at hand on the host.
ssh_forward() {
    local SSH=$SSH_FWD
    "$@"
}

# make_path DIRECTORY and ssh_make_path HOST DIRECTORY [TM_MAD] make a directory where there is none. With TM_MAD the datastore
# above it is marked as one that is monitored on its host.
make_path() { [[ -d $1 ]] || multiline_exec_and_log "mkdir -p -- $(printf %q "$1")" "Cannot make directory $1"; }
ssh_make_path() {
    local directory
    printf -v directory %q "$2"
    ssh_exec_and_log "$1" "[ -d $directory ] || mkdir -p -- $directory" "Cannot make directory $2 on $1"
    [[ -z ${3:-} ]] || enable_local_monitoring "$1" "$2" "$3"
}

# enable_local_monitoring HOST VM_DIRECTORY TM_MAD marks the datastore of a VM's directory; disable_local_monitoring takes the mark away.
enable_local_monitoring() {
    local mark
    printf -v mark %q "${2%/*}/.monitor"
    ssh_exec_and_log "$1" "printf '%s\n' $(printf %q "$3") >$mark" "Cannot make ${2%/*}/.monitor on $1"
}
disable_local_monitoring() {
    ssh_exec_and_log "$1" "rm -f -- $(printf %q "${2%/*}/.monitor")" "Cannot remove ${2%/*}/.monitor on $1"
}

# --- again, and one at a time ---

# retry TIMES COMMAND: until it succeeds, a second apart.
retry() {
    local left=$1
    until $2 >/dev/null; do
        ((--left > 0)) || return 1
        sleep 1
    done
}

# retry_if_no_error PATTERN TIMES SECONDS COMMAND...: again, as long as it fails and its stderr matches. What it said last is printed.
retry_if_no_error() {
    local pattern=$1 left=$2 pause=$3 output status said file
    shift 3
    file=$(mktemp)
    exec {said}<>"$file"
    rm -f -- "$file"
    while :; do
        status=0
        output=$("$@" 2>"/dev/fd/$said") || status=$?
        if ((status == 0 || --left <= 0)) || ! grep -q -- "$pattern" "/dev/fd/$said"; then
            break
        fi
        sleep "$pause"
    done
    cat "/dev/fd/$said" >&2
    exec {said}>&-
    [[ -z $output ]] || printf '%s\n' "$output"
    return "$status"
}

# retry_if: the same, and ends the script with the command's status.
retry_if() {
    local status=0
    retry_if_no_error "$@" || status=$?
    exit "$status"
}

# exclusive NAME SECONDS COMMAND...: runs it while no other script runs one under that name; waits no longer than that.
exclusive() {
    local file=/var/lock/one/$1 seconds=$2 lock status=0
    # where a self-contained installation keeps its locks
    [[ -z ${ONE_LOCATION:-} ]] || file=$ONE_LOCATION/var/lock/$1
    shift 2
    mkdir -p -- "${file%/*}" 2>/dev/null || :
    if ! { exec {lock}>>"$file"; } 2>/dev/null; then
        log_error "Cannot open the lock $file"
        exit 254
    fi
    if ! flock -w "$seconds" "$lock"; then
        log_error "Cannot get the lock $file within $seconds s"
        exit 254
    fi
    "$@" || status=$?
    exec {lock}>&-
    return "$status"
}

# --- empty disks ---

# mkfs_command FILE FORMAT SIZE_MB SUPPORTED FILE_SYSTEM [OPTIONS]: prints the commands that make a disk; SUPPORTED is a list with commas.
# FORMAT swap makes a swap disk. Ends the script for a file system that is not among them.
mkfs_command() {
    local file format=raw size=${3:-0}
    printf -v file %q "$1"
    [[ $2 != qcow2 ]] || format=qcow2
    if [[ -z ${5:-} ]]; then
        echo "$QEMU_IMG create -q -f $format $file ${size}M"
        [[ $2 != swap ]] || echo "$MKSWAP -L swap $file"
        return 0
    fi
    if ! contains "${4:-}" "$5" ,; then
        log_error "File system $5 is none of ${4:-}"
        exit 255
    fi
    echo "$QEMU_IMG create -q -f raw $file ${size}M"
    if [[ $5 == xfs ]]; then
        echo "$MKFS.xfs -f ${6:-} $file"
    else
        echo "$MKFS -F -t $5 ${6:-} $file"
    fi
    if [[ $format == qcow2 ]]; then
        echo "$QEMU_IMG convert -f raw -O qcow2 $file $file.qcow2"
        echo "mv -- $file.qcow2 $file"
    fi
}
