#!/bin/bash
# The helper runtime of transfer drivers, for those that look for it here. It brings the common helpers; a front-end has its own copy.
#
# Sourced, never run. Some functions read VMID and DST_PATH, which drivers set from their arguments. They ask oned by `onevm`.

# shellcheck source=../scripts_common.sh
source "${BASH_SOURCE[0]%/*}/../scripts_common.sh"

# shellcheck disable=SC2034 # set for the scripts
ONE_LOCAL_VAR=${ONE_LOCATION:-/var/lib/one}${ONE_LOCATION:+/var}
# shellcheck disable=SC2034 # set for the scripts
DS_DIR=$ONE_LOCAL_VAR/datastores

# is_disk PATH prints 1 for a disk of a VM, 0 for its directory. The status says nothing.
is_disk() {
    if [[ $1 =~ /disk\.[0-9]+ ]]; then
        echo 1
    else
        echo 0
    fi
}

# is_yes WORD: whether an attribute is switched on.
is_yes() { [[ ${1:-} =~ ^(yes|YES|true|TRUE)$ ]]; }

# make_relative PATH DIRECTORY prints the path as it is seen from the directory.
make_relative() { realpath -m -s --relative-to="$2" -- "$1"; }

# ask_vm VM_ID PATH prints what oned says of a VM; see document.awk for the path.
ask_vm() {
    local said
    said=$(onevm show -x "$1" | awk -f "${BASH_SOURCE[0]%/*}/../document.awk" -- "$2") || return
    printf '%s\n' "${said%$'\036'}"
}

# disk_type prints the TYPE of the disk at DST_PATH of the VM VMID.
disk_type() { ask_vm "$VMID" "/VM/TEMPLATE/DISK[DISK_ID=${DST_PATH##*.}]/TYPE"; }

# lcm_state [VM_ID] prints the number of the state of a VM; without VM_ID of VMID.
lcm_state() { ask_vm "${1:-$VMID}" /VM/LCM_STATE; }

# is_undeployed VM_ID HOST: whether the VM is at another host than that: stopped and undeployed VMs are at the front-end.
is_undeployed() { [[ $(ask_vm "${1:-$VMID}" "/VM/HISTORY_RECORDS/HISTORY[last()]/HOSTNAME") != "$2" ]]; }

# migrate_other ARGUMENT...: calls the script of this name of every other driver that the VM's disks have, once, with this driver's name as
# a sixth argument. TEMPLATE_64 is the document as it came. A script that was called so itself calls no other.
migrate_other() {
    local drivers own mad called mads
    [[ -z ${6:-} ]] || return 0
    own=$(realpath -s -- "${0%/*}")
    drivers=${own%/*}
    own=${own##*/}
    called=" $own "
    mads=$(base64 -d <<<"$TEMPLATE_64" | awk -f "${BASH_SOURCE[0]%/*}/../document.awk" -- %m%/VM/TEMPLATE/DISK/TM_MAD) || return
    for mad in ${mads%$'\036'}; do
        [[ $called != *" $mad "* ]] || continue
        called+="$mad "
        log "Call $mad/${0##*/}"
        "$drivers/$mad/${0##*/}" "$@" "$own" <<<"$TEMPLATE_64" || return
    done
}
