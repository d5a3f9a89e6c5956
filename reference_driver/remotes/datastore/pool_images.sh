#!/bin/bash
# What the datastore actions of libvirt_pool share: naming the volumes of images.

remotes=${BASH_SOURCE[0]%/*}/..
# shellcheck source=image_common.sh
source "$remotes/datastore/image_common.sh"
# shellcheck source=../libvirt_common.sh
source "$remotes/libvirt_common.sh"

# name_image IMAGE_ID: sets `volume`, a name that no other image and no earlier attempt has had.
# shellcheck disable=SC2034 # set for the scripts
name_image() {
    local now
    printf -v now '%(%s)T' -1
    printf -v volume 'one-image-%d-%08x%08x%08x' "$1" "$now" $$ $((RANDOM << 15 | RANDOM))
}

# find_snapshot [DUMP] IMAGE_ID: reads the document of an action for a snapshot; sets `volume`, `format`, `snapshot` (its id) and `kept`, the volume that
# holds it. Fails if there is none.
# shellcheck disable=SC2034 # set for the scripts
find_snapshot() {
    read_pool DATASTORE/ IMAGE/SOURCE IMAGE/TARGET_SNAPSHOT IMAGE/FORMAT IMAGE/TEMPLATE/DRIVER < <(driver_dump "$@")
    snapshot=${texts[1]}
    format=${texts[2]:-${texts[3]:-raw}}
    volume_of "${texts[0]}"
    kept=$(snapshot_of "$volume" "$snapshot")
    start_pool
    look_at "$kept"
}
