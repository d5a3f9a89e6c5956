#!/bin/bash
# How `stat` tells the size of an image from as little of the file as can be. Sourced by it alone; uses its variables.
# shellcheck disable=SC2154,SC2034

# measure NAME NO_DECOMPRESS: sets `size`, in bytes, of the image that the file at `from` will be.
measure() {
    local packed length
    if [[ ${2,,} == yes ]]; then
        options+=(--nodecomp)
        packed=""
    else
        packed=$(begin 6 --nodecomp | od -An -v -tx1 | tr -d ' \n') || exit 1
        [[ $packed == @(1f8b*|425a68*|fd377a585a00) ]] || packed=""
    fi
    if [[ -z $packed && -n $file ]]; then
        examine "$from" "$1"
        return
    fi
    scratch=$(mktemp)
    trap 'rm -f -- "$scratch"' EXIT
    begin 1048576 >"$scratch"
    # a qcow2 image says it in its first bytes; of all others the length counts, and what a tool makes of the beginning
    if [[ $(od -An -v -tx1 -N4 "$scratch") == " 51 46 49 fb" ]]; then
        size=$((16#$(od -An -v -tx1 -j24 -N8 "$scratch" | tr -d ' ')))
        ((size > 0)) || fail "$1 tells no size"
        return
    fi
    if [[ -n $packed ]]; then
        length=$(unpacked_length "$1") || exit 1
    else
        length=$(remote_length "$1")
    fi
    attempt "Cannot measure $1" truncate -s "$length" -- "$scratch"
    examine "$scratch" "$1"
}

# begin BYTES OPTION...: prints the beginning of the file.
begin() {
    local bytes=$1 said out
    shift
    exec {out}>&1
    said=$("$remotes/datastore/download" --noretry --max-size "$bytes" "${options[@]}" "$@" -- "$from" - 2>&1 >&"$out") || fail "$said"
    exec {out}>&-
}

# unpacked_length NAME: prints how long the file is when it is unpacked. xz keeps it at the end of a file; others are unpacked for it.
unpacked_length() {
    local said out
    exec {out}>&1
    if [[ -n $file && $packed == fd37* ]]; then
        said=$({ xz -l --robot -- "$from" | awk '$1 == "totals" { print $5 }' >&"$out"; } 2>&1)
    else
        said=$({ "$remotes/datastore/download" --noretry "${options[@]}" -- "$from" - | wc -c >&"$out"; } 2>&1)
    fi || fail "Cannot unpack $1: ${said%%$'\n'*}"
    exec {out}>&-
}

# remote_length NAME: prints the length that a server says; whichever answers last in a chain of redirections.
remote_length() {
    local headers length
    headers=$(curl -gfsSLI --proto '=http,https' --proto-redir '=http,https' --connect-timeout 30 -- "${from// /%20}" 2>&1) || fail "Cannot read $1: ${headers%%$'\n'*}"
    length=$(awk 'tolower($1) == "content-length:" { n = $2 } END { print n }' <<<"${headers//$'\r'/}")
    [[ $length =~ ^[0-9]+$ ]] || fail "The server does not tell the length of $1"
    printf '%s\n' "$length"
}
