#!/bin/bash
# What both libvirt_pool drivers share: the storage pool that the template of a datastore describes, and its volumes, by way of virsh.
#
# Sourced, never run. Images are volumes `one-image-<image id>-...`, disks of VMs are volumes `one-<VM id>-<disk id>`, with `-snap-<id>` behind it
# their snapshots. Other volumes of the pool were there before: they are used where a SOURCE names them, and never made or deleted.

remotes=${BASH_SOURCE[0]%/*}
# shellcheck source=tm/disk_common.sh
source "$remotes/tm/disk_common.sh"
# shellcheck source=libvirt_partitions.sh
source "$remotes/libvirt_partitions.sh"

# read_pool PLACE PATH...: takes texts out of a document as read_texts does, and the pool of the datastore at PLACE (DATASTORE/, or empty where it is the
# root). Sets `pool`, `pool_type`, `target` (where its volumes appear, empty if nowhere), `keeps` (files or blocks, empty where libvirt makes no
# volumes), and what pool_xml needs.
read_pool() {
    local place=$1
    local -a names=(POOL_NAME POOL_TYPE POOL_TARGET POOL_SOURCE POOL_HOST POOL_FORMAT POOL_USER POOL_SECRET POOL_INITIATOR LIBVIRT_URI BRIDGE_LIST)
    shift
    read_texts "${place}BASE_PATH" "${names[@]/#/${place}TEMPLATE/}" "$@"
    pool=${texts[1]}
    pool_type=${texts[2]:-dir}
    target=${texts[3]}
    pool_source=${texts[4]}
    pool_hosts=${texts[5]}
    pool_format=${texts[6]}
    pool_user=${texts[7]}
    pool_secret=${texts[8]}
    pool_initiator=${texts[9]}
    uri=${texts[10]:-qemu:///system}
    read -r bridge_host _ <<<"${texts[11]}"
    keeps=""
    case $pool_type in
        dir | fs | netfs) target=${target:-${texts[0]}} keeps=files ;;
        logical) target=${target:-/dev/${pool_source:-$pool}} keeps=blocks ;;
        rbd) target="" keeps=blocks ;;
        disk) target=${target:-/dev} keeps=blocks ;;
        iscsi | mpath | scsi) target=${target:-/dev/disk/by-path} ;;
        iscsi-direct | gluster) target="" ;;
        *) fail "A pool of type '$pool_type' is not known here; correct POOL_TYPE of the datastore" ;;
    esac
    target=$(fix_dir_slashes "$target")
    target=${target%/}
    links=$(fix_dir_slashes "${texts[0]}")
    links=${links%/}
    texts=("${texts[@]:12}")
    [[ -n $pool && $pool != */* ]] || fail "The datastore needs POOL_NAME, the name of a storage pool of libvirt"
}

# ask_pool DATASTORE_ID: asks oned which pool a datastore has, and starts it.
ask_pool() {
    local document
    document=$(onedatastore show -x "$1") || fail "Cannot ask oned about datastore $1"
    read_pool "" <<<"$document"
    start_pool
}

# libvirt WORD...: runs virsh where the pool is worked on.
libvirt() { on_bridge virsh -q -c "$uri" "$@"; }

# on_bridge COMMAND...: runs a command on the first host of BRIDGE_LIST, else here.
on_bridge() {
    local words
    if [[ -z $bridge_host ]]; then
        "$@"
    else
        printf -v words '%q ' "$@"
        ssh -o BatchMode=yes "$bridge_host" "export LC_ALL=C; $words"
    fi
}

# markup NAME TEXT [ATTRIBUTE TEXT]...: prints an element, its texts escaped; nothing where they are all empty.
markup() {
    local name=$1 text=$2 attributes=""
    shift 2
    while (($#)); do
        [[ -z $2 ]] || attributes+=" $1='$(escaped "$2")'"
        shift 2
    done
    [[ -z $text$attributes ]] || printf '<%s%s>%s</%s>' "$name" "$attributes" "$(escaped "$text")" "$name"
}

escaped() {
    sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e "s/'/\&#39;/g" -e 's/"/\&#34;/g' <<<"$1"
}

# ours MODE: prints the element that gives a directory or volume to the user that runs this, which is who the hypervisor runs as.
ours() { printf '<permissions><mode>%s</mode><owner>%d</owner><group>%d</group></permissions>' "$1" "$(id -u)" "$(id -g)"; }

# servers: prints a host element for each word of POOL_HOST: a name or an address, with :port behind it; an IPv6 address then stands in brackets.
servers() {
    local server
    for server in $pool_hosts; do
        if [[ $server =~ ^([^:]+|\[.*\]):([0-9]+)$ ]]; then
            server=${BASH_REMATCH[1]#[}
            markup host "" name "${server%]}" port "${BASH_REMATCH[2]}"
        else
            markup host "" name "$server"
        fi
    done
}

# login KIND: prints who logs in, where POOL_USER and POOL_SECRET (the uuid of a secret that libvirt keeps) say so.
login() {
    [[ -z $pool_user ]] || printf "<auth type='%s' username='%s'>%s</auth>" "$1" "$(escaped "$pool_user")" "$(markup secret "" uuid "$pool_secret")"
}

# pool_xml: prints the document that defines the pool.
pool_xml() {
    printf "<pool type='%s'>%s<source>" "$pool_type" "$(markup name "$pool")"
    case $pool_type in
        fs | disk) markup device "" path "$pool_source" ;;
        netfs) servers && markup dir "" path "$pool_source" ;;
        logical) markup name "${pool_source:-$pool}" && markup format "" type lvm2 ;;
        rbd) servers && markup name "${pool_source:-$pool}" && login ceph ;;
        gluster) servers && markup name "$pool_source" ;;
        iscsi | iscsi-direct) servers && markup device "" path "$pool_source" && login chap ;;
        scsi) markup adapter "" name "$pool_source" ;;
    esac
    markup format "" type "$pool_format"
    [[ -z $pool_initiator ]] || printf '<initiator>%s</initiator>' "$(markup iqn "" name "$pool_initiator")"
    printf '</source>'
    [[ -z $target ]] || printf '<target>%s%s</target>' "$(markup path "$target")" "$([[ $keeps != files ]] || ours 0770)"
    printf '</pool>\n'
}

# start_pool: the pool runs, whoever has started it. One that does not exist is defined; what it stands on is built only where it cannot be started
# as it is, and never over something that is there. It is never stopped or undefined: others may use it.
start_pool() {
    local lock=""
    ! pool_runs || return 0
    exec {lock}<"$remotes"
    flock "$lock"
    if ! pool_runs; then
        libvirt pool-uuid --pool "$pool" >/dev/null 2>&1 ||
            attempt "Cannot define the pool $pool" libvirt pool-define --file /dev/stdin <<<"$(pool_xml)"
        libvirt pool-start --pool "$pool" >/dev/null 2>&1 || {
            build_pool
            pool_runs || attempt "Cannot start the pool $pool" libvirt pool-start --pool "$pool"
        }
    fi
    exec {lock}<&-
}

pool_runs() { [[ $(libvirt pool-info --pool "$pool" 2>/dev/null) =~ State:\ +running ]]; }

build_pool() {
    local careful=()
    [[ $pool_type != @(fs|disk) ]] || careful=(--no-overwrite)
    libvirt pool-build --pool "$pool" "${careful[@]}" >/dev/null 2>&1 || :
}

# read_again: lets libvirt look for volumes that it does not know, made elsewhere. It refuses that while others work in the pool.
read_again() {
    local said tries
    for ((tries = 0; tries < 50; tries++)); do
        said=$(libvirt pool-refresh --pool "$pool" 2>&1 >/dev/null) && return 0
        [[ $said == *asynchronous* ]] || return 1
        sleep 0.2
    done
    return 1
}

# volume_of SOURCE: sets `volume`, the name of the volume that a SOURCE means: its path, for rbd its Ceph pool and name, for iscsi-direct the target and the
# number of its unit (so the hypervisor wants it), for a partition that a driver has made the path of its link; or the name alone. oned writes `frontend:`
# before a SOURCE without a colon.
volume_of() {
    local source place=${target:-${pool_source:-$pool}}
    source=$(fix_dir_slashes "$1")
    [[ ${source%/*} == "$place" || $source == unit:* ]] || source=${source#*:}
    volume=${source##*/}
    [[ -n $volume && ($source == "$volume" || ${source%/*} == "$place" || ($pool_type == disk && ${source%/*} == "$links")) ]] ||
        fail "$1 is no volume of the pool $pool"
    [[ $pool_type != iscsi-direct || $volume != +([0-9]) ]] || volume=unit:0:0:$volume
}

# source_of VOLUME: prints what oned keeps as the SOURCE of an image.
source_of() {
    if [[ $pool_type == disk ]]; then
        linked "$1"
    else
        printf '%s/%s\n' "${target:-${pool_source:-$pool}}" "$1"
    fi
}

# look_at VOLUME: sets `path`, `capacity` (bytes that the guest sees, if libvirt is right about the format), `physical` (bytes that there are) and `seen`, the
# format that libvirt takes the volume for. Fails if there is none.
# shellcheck disable=SC2034 # set for the scripts
look_at() {
    local xml name
    name=$(known_as "$1")
    xml=$(libvirt vol-dumpxml --pool "$pool" --vol "$name" 2>/dev/null) ||
        { read_again && xml=$(libvirt vol-dumpxml --pool "$pool" --vol "$name" 2>&1); } ||
        fail "The pool $pool has no volume $1"
    local -a kept=("${texts[@]}")
    read_texts target/path capacity physical <<<"$xml"
    path=${texts[0]}
    capacity=${texts[1]}
    physical=${texts[2]:-$capacity}
    seen=raw
    [[ ! $xml =~ "<format type='"([a-z0-9]+)"'/>" ]] || seen=${BASH_REMATCH[1]}
    texts=("${kept[@]}")
}

# volume_xml NAME BYTES FORMAT [BACKING_PATH]: prints the document of a new volume; one on top of another (both qcow2) may leave the size to that.
volume_xml() {
    printf '<volume>%s' "$(markup name "$1")"
    [[ -z $2 ]] || printf "<capacity unit='bytes'>%d</capacity>" "$2"
    if [[ $keeps == files ]]; then
        printf "<allocation unit='bytes'>0</allocation><target><format type='%s'/>%s</target>" "$3" "$(ours 0660)"
    fi
    [[ -z ${4:-} ]] || printf "<backingStore>%s<format type='qcow2'/></backingStore>" "$(markup path "$4")"
    printf '</volume>\n'
}

# check_format FORMAT: fails unless the pool can hold a volume of that format.
check_format() {
    [[ -n $keeps ]] || fail "Volumes of a pool of type $pool_type are not made by libvirt: register those that are there with SOURCE"
    [[ $1 == raw || ($1 == qcow2 && $keeps == files) ]] || fail "A volume of format '$1' cannot be made in a pool of type $pool_type"
}

# make_volume PROBLEM NAME XML VERB [OPTION...]: makes a volume with that verb of virsh; what an earlier attempt has left under the name goes. The
# volume goes again when the script ends, unless keep_volume has been called.
make_volume() {
    local problem=$1 name=$2 xml=$3
    shift 3
    begun=$name
    if [[ $pool_type == disk ]]; then
        drop_volume "$name"
        attempt "$problem" alone make_partition "$name" "$xml"
        return
    fi
    libvirt "$@" --pool "$pool" --file /dev/stdin <<<"$xml" >/dev/null 2>&1 || {
        drop_volume "$name"
        attempt "$problem" libvirt "$@" --pool "$pool" --file /dev/stdin <<<"$xml"
    }
}

# drop_volume NAME: deletes a volume; one that is already gone is success.
drop_volume() {
    if [[ $pool_type == disk ]]; then
        attempt "Cannot delete the volume $1 of the pool $pool" alone drop_partition "$1"
        return
    fi
    libvirt vol-delete --pool "$pool" --vol "$1" >/dev/null 2>&1 || {
        read_again || :
        ! libvirt vol-info --pool "$pool" --vol "$1" >/dev/null 2>&1 ||
            attempt "Cannot delete the volume $1 of the pool $pool" libvirt vol-delete --pool "$pool" --vol "$1"
    }
}

# list_volumes: prints the names of the volumes, each at the beginning of a line.
list_volumes() {
    if [[ $pool_type == disk ]]; then
        on_bridge find "$links" -type l -printf '%f\n' 2>/dev/null || :
    else
        read_again || :
        libvirt vol-list --pool "$pool"
    fi
}

# drop_volumes PREFIX: deletes all volumes whose names begin so.
drop_volumes() {
    local names name
    names=$(list_volumes) || fail "Cannot list the volumes of the pool $pool"
    while read -r name _; do
        [[ $name != "$1"* ]] || drop_volume "$name"
    done <<<"$names"
}

# fill_volume NAME FILE: writes a file into a volume, byte by byte. Holes stay holes in a new file alone.
fill_volume() {
    local sparse=()
    if [[ $pool_type == rbd ]]; then
        attempt "Cannot write the volume $1" fill_rbd "$(rbd_address "$1")" <"$2"
        return
    fi
    [[ -n $bridge_host || $keeps != files ]] || sparse=(--sparse)
    attempt "Cannot write the volume $1" libvirt vol-upload --pool "$pool" --vol "$(known_as "$1")" --file /dev/stdin "${sparse[@]}" <"$2"
}

# rbd_address VOLUME: prints how QEMU finds a Ceph image; servers and key are those of the configuration of Ceph on the host.
rbd_address() { printf 'rbd:%s%s\n' "$(source_of "$1")" "${pool_user:+:id=$pool_user}"; }

# fill_rbd ADDRESS: writes standard input into a Ceph image, which libvirt itself cannot do.
fill_rbd() {
    # shellcheck disable=SC2016 # expanded where it runs
    on_bridge bash -c 'set -e; file=$(mktemp); trap "rm -f -- $file" EXIT; cat >"$file"; qemu-img convert -n -f raw -O raw "$file" "$1"' bash "$1"
}

# copy_volume ORIGINAL NAME FORMAT SIZE_MB: makes a volume with the content of another, larger if SIZE_MB says so. Where libvirt takes the original for
# something else than oned does, a guest has written that, and only its bytes are copied.
copy_volume() {
    local original=$1 name=$2 format=$3 size=$(($4 << 20)) problem="Cannot copy the volume $1 to $2" original_bytes
    check_format "$format"
    look_at "$original"
    original_bytes=$capacity
    [[ $format != raw ]] || original_bytes=$physical
    ((size > original_bytes)) || size=$original_bytes
    if [[ $pool_type == rbd ]]; then
        # libvirt would make a clone that needs its original for ever
        make_volume "$problem" "$name" "$(volume_xml "$name" "$size" raw)" vol-create
        attempt "$problem" on_bridge qemu-img convert -n -f raw -O raw "$(rbd_address "$original")" "$(rbd_address "$name")"
    elif [[ $keeps == blocks && ($pool_type == disk || $size -gt $original_bytes) ]]; then
        # what lies behind the copy is what was there before; and nobody waits for a partition to be copied
        make_volume "$problem" "$name" "$(volume_xml "$name" "$size" raw)" vol-create
        ((size == original_bytes)) || wipe_volume "$name"
        attempt "$problem" pass_bytes "$original" "$name"
    elif [[ $keeps == blocks || $seen == "$format" ]]; then
        make_volume "$problem" "$name" "$(volume_xml "$name" "$size" "$format")" vol-create-from --vol "$original" --inputpool "$pool"
    else
        make_volume "$problem" "$name" "$(volume_xml "$name" "$physical" raw)" vol-create
        attempt "$problem" pass_bytes "$original" "$name"
        [[ $format != raw ]] || ((size == physical)) || grow_volume "$name" "$size"
    fi
}

pass_bytes() {
    libvirt vol-download --pool "$pool" --vol "$(known_as "$1")" --file /dev/stdout |
        libvirt vol-upload --pool "$pool" --vol "$(known_as "$2")" --file /dev/stdin
}

# grow_volume NAME BYTES: makes a volume larger. libvirt does that with files and Ceph images alone.
grow_volume() { attempt "Cannot resize the volume $1" libvirt vol-resize --pool "$pool" --vol "$(known_as "$1")" --capacity "$2"; }

# wipe_volume NAME: fills a volume with zeros.
wipe_volume() { attempt "Cannot wipe the volume $1" libvirt vol-wipe --pool "$pool" --vol "$(known_as "$1")"; }

# snapshot_of VOLUME ID: prints the name of the volume that is a snapshot of another.
snapshot_of() {
    [[ $2 =~ ^[0-9]+$ ]] || fail "'$2' is no id of a snapshot"
    printf '%s-snap-%d\n' "$1" "$2"
}

# put_back VOLUME SNAPSHOT_ID FORMAT: gives a volume what its snapshot holds. The snapshot is looked for before anything goes; cut off in between, it is
# done again.
put_back() {
    local kept
    kept=$(snapshot_of "$1" "$2")
    look_at "$kept"
    drop_volume "$1"
    copy_volume "$kept" "$1" "$3" 0
    keep_volume
}

# keep_volume: what was made stays.
keep_volume() { begun=""; }

# scratch: makes a directory for the time of the script, `work`.
scratch() { work=$(mktemp -d); }

clean_up() {
    [[ -z $begun ]] || (drop_volume "$begun") >/dev/null 2>&1 || :
    [[ -z $work ]] || rm -rf -- "$work"
}

begun="" work=""
trap clean_up EXIT

# put_file NAME FILE FORMAT: makes a volume of an image file of that format. Where volumes are no files they are raw, and so must the file be.
put_file() {
    local size
    size=$(stat -c %s -- "$2")
    check_format "$3"
    make_volume "Cannot make the volume $1" "$1" "$(volume_xml "$1" "$size" raw)" vol-create
    fill_volume "$1" "$2"
    # so that libvirt knows what the volume holds
    read_again || :
}

# put_blank NAME SIZE_MB FORMAT FILE_SYSTEM: makes an empty volume; FILE_SYSTEM as for host_blank.
put_blank() {
    check_blank "${@:2}"
    check_format "$3"
    if [[ -n $4 ]]; then
        scratch
        attempt "Cannot make a file system" host_blank "$work/blank" "${@:2}"
        put_file "$1" "$work/blank" "$3"
    else
        make_volume "Cannot make the volume $1" "$1" "$(volume_xml "$1" $(($2 << 20)) "$3")" vol-create
        # a logical volume and a partition hold what was there before
        [[ $pool_type != @(logical|disk) ]] || wipe_volume "$1"
    fi
}

# pool_room: prints what the pool holds, in MiB, as `monitor` of a datastore does.
pool_room() {
    local figures total used free
    read_again || :
    figures=$(libvirt pool-info --bytes --pool "$pool" 2>&1) || fail "Cannot measure the pool $pool: $figures"
    [[ $figures =~ Capacity:\ +([0-9]+) ]] && total=${BASH_REMATCH[1]}
    [[ $figures =~ Allocation:\ +([0-9]+) ]] && used=${BASH_REMATCH[1]}
    [[ $figures =~ Available:\ +([0-9]+) ]] && free=${BASH_REMATCH[1]}
    [[ -n ${total:-} && -n ${used:-} && -n ${free:-} ]] || fail "libvirt tells no room of the pool $pool"
    printf 'USED_MB=%d\nTOTAL_MB=%d\nFREE_MB=%d\n' $((used >> 20)) $((total >> 20)) $((free >> 20))
}
