#!/bin/bash
# The helper runtime of datastore drivers, for those that look for it here; a front-end has its own copy.
#
# Sourced, never run, after scripts_common.sh. What it takes from the reference driver it runs in subshells, so that nothing else of that
# reaches the script. Functions read BASE_PATH, BRIDGE_LIST and ID, which drivers set.

# set_up_datastore BASE_PATH RESTRICTED_DIRS SAFE_DIRS: sets these variables; the first list gains the directories that always are restricted.
set_up_datastore() {
    local var=${ONE_LOCATION:-/var/lib/one}${ONE_LOCATION:+/var} etc=${ONE_LOCATION:-/etc/one}${ONE_LOCATION:+/etc}
    export BASE_PATH=$1 RESTRICTED_DIRS="$var/ $etc/ ${HOME:-/root}/ ${2:-}" SAFE_DIRS=${3:-}
}

# check_restricted PATH prints 1 for a path in one of RESTRICTED_DIRS and none of SAFE_DIRS, else 0.
check_restricted() (
    # shellcheck source=image_common.sh
    source "${BASH_SOURCE[0]%/*}/image_common.sh"
    real=$(readlink -m -- "$1")
    # shellcheck disable=SC2086 # lists with blanks between
    if below "$real" $RESTRICTED_DIRS && ! below "$real" $SAFE_DIRS; then
        echo 1
    else
        echo 0
    fi
)

# remove_off_hosts HOSTS prints those that can be used; get_destination_host [ID] prints one of BRIDGE_LIST, any without ID, and ends the
# script where there is none.
remove_off_hosts() (
    # shellcheck source=image_common.sh
    source "${BASH_SOURCE[0]%/*}/image_common.sh"
    able_bridges "$1"
    printf '%s\n' "${able[*]}"
)
get_destination_host() (
    # shellcheck source=image_common.sh
    source "${BASH_SOURCE[0]%/*}/image_common.sh"
    one_of_bridges "${BRIDGE_LIST:-}" "${1:-$RANDOM}"
)

# generate_image_hash and generate_image_path print a name that no other image has.
generate_image_hash() { md5sum <<<"$(date +%s%N):${ID:-}:$$:$RANDOM" | cut -d ' ' -f 1; }
generate_image_path() { printf '%s/%s\n' "$BASE_PATH" "$(generate_image_hash)"; }

# set_downloader_args MD5 SHA1 NO_DECOMPRESS LIMIT [SOURCE] [DESTINATION] prints arguments for downloader.sh, as a shell reads them.
set_downloader_args() {
    local -a words=()
    [[ -z ${1:-} ]] || words+=(--md5 "$1")
    [[ -z ${2:-} ]] || words+=(--sha1 "$2")
    [[ ${3:-} != [Yy][Ee][Ss] ]] || words+=(--nodecomp)
    [[ -z ${4:-} ]] || words+=(--limit "$4")
    [[ -z ${5:-} ]] || words+=("$5")
    [[ -z ${6:-} ]] || words+=("$6")
    ((${#words[@]} == 0)) || printf '%q ' "${words[@]}"
}

# image_format FILE and image_vsize FILE print what qemu-img finds; file_size and file_type what lies there.
image_format() { qemu-img info -U -- "$1" 2>/dev/null | sed -n 's/^file format: //p'; }
image_vsize() { qemu-img info -U --output=json -- "$1" | sed -n 's/^    "virtual-size": \([0-9]*\).*/\1/p'; }
file_size() { stat -L -c %s -- "$1"; }
file_type() { file -b --mime-type -- "$1"; }

# fs_size SOURCE [NO_DECOMPRESS] [LIMIT] prints the MiB of the image that a file or URL will be; if it cannot, why, with a failure.
# shellcheck disable=SC2034 # for measure
fs_size() (
    # shellcheck source=image_common.sh
    source "${BASH_SOURCE[0]%/*}/image_common.sh"
    # shellcheck source=size_common.sh
    source "${BASH_SOURCE[0]%/*}/size_common.sh"
    set -euo pipefail
    exec 2>&1
    options=()
    [[ -z ${3:-} ]] || options+=(--limit "$3")
    from=$1 file=""
    [[ $1 == http*://* ]] || file=$1
    [[ -z $file || -f $file ]] || fail "There is no file $1"
    measure "$1" "${2:-}"
    printf '%d\n' $(((size + 1048575) / 1048576))
)
