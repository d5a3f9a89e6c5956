#!/bin/bash
# What the actions of the datastore driver share: naming new images, and looking into files that users bring.
#
# An image is one file directly below BASE_PATH; its path is the SOURCE.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=../storage_common.sh
source "$remotes/storage_common.sh"

# new_image BASE_PATH IMAGE_ID: chooses the SOURCE of a new image (`image`) and the file to write first (`part`), which goes when
# the script ends. The name is one that no other image and no earlier attempt has had.
new_image() {
    local base now
    [[ -n $1 ]] || fail "The datastore has no BASE_PATH"
    base=$(fix_dir_slashes "$1")
    printf -v now '%(%s)T' -1
    printf -v image '%s/%08x%08x%08x%08x' "${base%/}" "$2" "$now" $$ $((RANDOM << 15 | RANDOM))
    part=$image.part
    attempt "Cannot make the directory of the datastore" mkdir -p -- "$base"
    trap 'rm -f -- "$part" "$part.raw"' EXIT
}

# keep_image: the file that was written becomes the image, at once and whole.
keep_image() {
    attempt "Cannot keep the image at $image" mv -T -- "$part" "$image"
}

# examine FILE NAME: looks into an image file; sets `format` and `size` (virtual, in bytes). NAME is what the user calls it.
# Fails for an image that would make the hypervisor open further files, which the user may have no right to read.
# shellcheck disable=SC2034 # set for the scripts
examine() {
    local said top=$'\n    ' # keys of the outermost object stand four blanks in
    # a file made to harm may ask for absurd amounts
    said=$(
        ulimit -S -t 60 -v 2097152 2>/dev/null || :
        qemu-img info -U --output=json -- "$1" 2>&1
    ) || fail "Cannot read $2 as an image: $said"
    [[ $said =~ ${top}\"virtual-size\":\ ([0-9]+) ]] || fail "qemu-img tells no size of $2"
    size=${BASH_REMATCH[1]}
    [[ $said =~ ${top}\"format\":\ \"([^\"]+)\" ]] || fail "qemu-img tells no format of $2"
    format=${BASH_REMATCH[1]}
    [[ ! $said =~ ${top}\"backing-filename\": ]] || fail "$2 depends on a backing file; give an image that is whole (qemu-img convert)"
    [[ $said != *'"data-file":'* ]] || fail "$2 keeps its data in another file; give an image that is whole (qemu-img convert)"
    case $format in
        raw | qcow2 | vdi | vpc | vhdx) ;;
        luks) format=raw ;; # for the hypervisor an encrypted image is raw; the guest's secret opens it
        *) fail "$2 is of format $format, which is not taken; convert it to qcow2 or raw (qemu-img convert)" ;;
    esac
}
