#!/bin/bash
# What the datastore driver and the transfer driver share: the contract's version, failing, reading documents, making empty disks.
#
# Sourced, never run; the scripts that source it run under `set -euo pipefail` and use the variables that it sets.
# shellcheck disable=SC2034

# where this tree lies
remotes=${BASH_SOURCE[0]%/*}
# shellcheck source=scripts_common.sh
source "$remotes/scripts_common.sh"

# The hypervisor opens disks as the group of oneadmin; nobody else has a business with them.
umask 0007

# The OpenNebula version that calls; the newest where nothing says it.
contract=newest
[[ ! -r $remotes/VERSION ]] || read -r contract <"$remotes/VERSION" || :

# fail TEXT: ends the action; TEXT is what the user is told.
fail() {
    error_message "${1//$'\n'/ }"
    exit 1
}

# log_warning TEXT: a line for the log that oned knows as a warning since 7.0.
log_warning() { log_function WARN "$1"; }

# attempt TEXT COMMAND...: runs a command; if it fails, the action fails with TEXT and what the command said.
attempt() {
    local problem=$1 said
    shift
    said=$("$@" 2>&1 >/dev/null) || fail "$problem: ${said:-$1 failed}"
}

# read_texts PATH...: takes texts out of the XML document on standard input; sets the array `texts`, in the order of the paths
# (see document.awk). The action fails if the document cannot be read.
read_texts() {
    mapfile -d $'\036' -t texts < <(awk -f "$remotes/document.awk" -- "$@")
    ((${#texts[@]} == $#)) || fail "The document that oned gives cannot be read as XML"
}

# driver_dump [DUMP] ID: prints the document of a datastore action or of `monitor`. Until 6.6 it is the first argument, since 6.8 it
# is standard input; in between it may be either, and then the argument is a dash. Standard input is read to its end in any case.
driver_dump() {
    if (($# < 2)) || [[ $1 == - ]]; then
        base64 -d
    else
        [[ -t 0 ]] || cat >/dev/null
        base64 -d <<<"$1"
    fi
}

# capacity DIRECTORY [FIGURES]: prints what the storage below a directory holds, in MiB; FIGURES is what host_figures has said elsewhere.
capacity() {
    local figures=${2:-} used total free
    [[ -n $figures ]] || figures=$(host_figures "$1" 2>&1) || fail "Cannot measure $1: $figures"
    read -r used total free <<<"${figures##*$'\n'}"
    printf 'USED_MB=%d\nTOTAL_MB=%d\nFREE_MB=%d\n' "$used" "$total" "$free"
}

# host_figures DIRECTORY: prints used, all and free MiB; where the directory is not there yet, its parent tells.
host_figures() {
    local directory=$1
    while [[ ! -e $directory && $directory == /*/* ]]; do directory=${directory%/*}; done
    df -B1M --output=used,size,avail -- "$directory"
}

# host_script FUNCTION ARGUMENT...: prints the script that runs one of the host functions on a host.
host_script() {
    # shellcheck disable=SC2016 # the PATH is the host's
    printf '%s\n' 'set -euo pipefail' 'umask 0007' 'export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin'
    printf 'mark=%q\n' "${mark:-}" # of the transfer driver: see disk_common.sh
    # shellcheck disable=SC2046 # names of functions hold no blanks
    declare -f $(compgen -A function host_)
    printf '%q ' "$@"
    # one line to the end: what follows on standard input belongs to the function
    printf '%s\n' '; exit'
}

# host_blank FILE SIZE_MB FORMAT FILE_SYSTEM: makes an empty disk; FILE_SYSTEM is ext4, xfs, ..., swap, or empty for none.
# It is also sent to hosts, so it uses nothing of this file; and it may be run where `set -e` has no effect, hence the chain of `&&`.
host_blank() {
    local file=$1 size_mb=$2 format=$3 file_system=$4
    if [[ $format != raw && -z $file_system ]]; then
        qemu-img create -q -f "$format" "$file" "${size_mb}M"
        return
    fi
    if [[ -n $file_system && $file_system != swap ]] && ! command -v "mkfs.$file_system" >/dev/null; then
        printf 'there is no mkfs.%s\n' "$file_system" >&2
        return 1
    fi
    truncate -s "${size_mb}M" -- "$file" &&
        case $file_system in
            "") ;;
            swap) mkswap -L swap "$file" ;;
            ext[234]) "mkfs.$file_system" -q -F "$file" ;;
            *) "mkfs.$file_system" "$file" ;;
        esac &&
        if [[ $format != raw ]]; then
            mv -- "$file" "$file.raw" && qemu-img convert -f raw -O "$format" "$file.raw" "$file" && rm -- "$file.raw"
        fi
}

# check_blank SIZE_MB FORMAT FILE_SYSTEM: fails unless host_blank can make such a disk; no word of a user reaches a command unchecked.
check_blank() {
    [[ $1 =~ ^[1-9][0-9]*$ ]] || fail "A disk of '$1' MB cannot be made: the size is a whole number above 0"
    [[ $2 == raw || $2 == qcow2 ]] || fail "A disk of format '$2' cannot be made: the formats are raw and qcow2"
    [[ $3 =~ ^[a-z0-9]*$ ]] || fail "A file system '$3' cannot be made: the name is lower case letters and digits"
}
