#!/bin/bash
# Tells the downloader how images come from rbd:// addresses, as export of the Ceph driver names them: the host that the address names reads the pool.
# Arguments: URL, rbd://[USER@]HOST/POOL/IMAGE[@SNAPSHOT]?CEPH_USER=ID&CEPH_KEY=FILE&CEPH_CONF=FILE, where each parameter may be missing and others have no
# meaning. Prints two assignments: `command`, which writes the image to standard output, and `clean_command`.
set -euo pipefail

url=$1

refuse() {
    printf '%s\n' "${1//$'\n'/ }" >&2
    exit 1
}

place=${url#rbd://}
parameters=""
[[ $place != *'?'* ]] || parameters=${place#*'?'} place=${place%%'?'*}
host=${place%%/*}
image=${place#*/}
[[ $host =~ ^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*$ ]] || refuse "'$host' is no host"
# other signs would be read as options, or by the shell of the host
[[ $image =~ ^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?$ ]] || refuse "'$image' is no image of a pool: POOL/IMAGE"

rbd=(rbd)
IFS='&' read -ra pairs <<<"${parameters//$'\n'/ }"
for pair in "${pairs[@]}"; do
    value=${pair#*=}
    case $pair in
        CEPH_USER=*) rbd+=(--id "$value") ;;
        CEPH_KEY=*) rbd+=(--keyfile "$value") ;;
        CEPH_CONF=*) rbd+=(--conf "$value") ;;
        *) continue ;;
    esac
    [[ $value =~ ^[A-Za-z0-9_/][A-Za-z0-9._/-]*$ ]] || refuse "'$pair' has signs that no name of a client or a file has"
done
rbd+=(export --no-progress "$image" -)

printf 'command=%q\nclean_command=\n' "ssh -o BatchMode=yes $host $(printf %q "${rbd[*]}")"
