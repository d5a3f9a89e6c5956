#!/bin/bash
# The downloader of a front-end, whose name, options and arguments drivers call it by; see `download`. Into a file it unpacks archives too:
# what a tar or a zip holds is then in a directory of that name.
set -euo pipefail

here=${BASH_SOURCE[0]%/*}
# shellcheck source=../storage_common.sh
source "$here/../storage_common.sh"

"$here/download" "$@"
file=${!#}
for option; do
    case $option in
        -n | --nodecomp | -[!-]*n*) exit 0 ;;
        --) break ;;
    esac
done
[[ -f $file ]] || exit 0

case $(dd if="$file" bs=1 skip=257 count=5 status=none | tr -d '\0'):$(dd if="$file" bs=1 count=4 status=none | tr -d '\0') in
    ustar:*) unpack=(tar -x --no-same-owner --no-same-permissions -f "$file" -C "$file.unpacked") ;;
    *:$'PK\003\004') unpack=(unzip -q -d "$file.unpacked" -- "$file") ;;
    *) exit 0 ;;
esac
trap 'rm -rf -- "$file.unpacked"' EXIT
mkdir -- "$file.unpacked"
attempt "Cannot unpack $file" "${unpack[@]}"
rm -f -- "$file"
attempt "Cannot keep $file" mv -T -- "$file.unpacked" "$file"
