#!/bin/bash
# Reads an XML document as the xpath.rb of a front-end does, whose name and options drivers call it by. It needs no Ruby.
# Options: -b|--base64 DOCUMENT, else it is standard input (-s|--stdin); -t|--subtree for whole elements. Arguments: paths, as document.awk
# reads them, %m% in front of one for all that it names. Prints the text of each followed by a NUL.
# The status is the number of paths that lead to no text; until 7.0.0 it was 0, and a newline followed.
set -euo pipefail

here=${BASH_SOURCE[0]%/*}
options=$(getopt -o stb: -l stdin,subtree,base64: -n xpath.rb -- "$@") || exit 255
eval "set -- $options"
subtree=0
from=stdin
while [[ $1 != -- ]]; do
    case $1 in
        -s | --stdin) from=stdin ;;
        -t | --subtree) subtree=1 ;;
        -b | --base64)
            from=base64
            document=$2
            shift
            ;;
    esac
    shift
done
shift

document() {
    if [[ $from == base64 ]]; then
        base64 -di <<<"$document" || :
    else
        cat
    fi
}

missing=0
document | LC_ALL=C awk -v pieces=1 -v "subtree=$subtree" -f "$here/../document.awk" -- "$@" | tr '\036' '\000' || missing=$?
((missing != 255)) || exit 1

version=""
[[ ! -r $here/../VERSION ]] || read -r version <"$here/../VERSION" || :
case $version in
    [0-6].* | 7.0.0)
        printf '\n'
        exit 0
        ;;
esac
exit "$missing"
