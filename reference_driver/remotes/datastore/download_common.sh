#!/bin/bash
# How `download` reads, unpacks and checks. Sourced by it alone; uses its variables.
# shellcheck disable=SC2154,SC2034

# first_line FILE: prints what a command said first; there may be nothing.
first_line() {
    local line="the copy broke off"
    read -r line <"$1" || :
    printf '%s' "${line:-the copy broke off}"
}

# find_reader SOURCE: sets `reader`, the command that writes the file to standard output. No part of SOURCE meets a shell on this machine.
find_reader() {
    local scheme helper path
    case $1 in
        http://* | https://*)
            # curl has no patterns to expand, and follows a server nowhere but to http
            reader=(curl -gfsSL --proto '=http,https' --proto-redir '=http,https' --max-redirs 10 --connect-timeout 30)
            [[ -z $limit ]] || reader+=(--limit-rate "$limit")
            [[ $retry == no ]] || reader+=(--retry 3 --retry-delay 1)
            reader+=(-- "${1// /%20}")
            ;;
        ssh://*:*)
            path=${1#ssh://}
            [[ $path != -* ]] || fail "'${path%%:*}' is no host"
            reader=(ssh -o BatchMode=yes "${path%%:*}" "cat -- $(printf %q "${path#*:}")")
            ;;
        file:///*) find_reader "$(file_path "$1")" ;;
        [!/]*://*)
            scheme=${1%%://*}
            [[ $scheme =~ ^[a-z0-9+]+$ ]] || fail "'$scheme' is no scheme of a URL"
            for helper in "$here/${scheme%+rbd}"_downloader{,.sh,.rb}; do
                [[ ! -x $helper ]] || break
            done
            [[ -x $helper ]] || fail "Nothing here brings files from $scheme://"
            ask_helper "$helper" "$1"
            ;;
        *)
            [[ -f $1 || -p $1 || -b $1 ]] || fail "There is no file $1"
            [[ -r $1 ]] || fail "The file $1 may not be read"
            reader=(cat -- "$1")
            ;;
    esac
}

# ask_helper HELPER URL: a helper of a backup driver prints two assignments: `command`, which writes the file to standard output, and
# `clean_command`, which is run when all has ended.
ask_helper() {
    local said command=""
    said=$("$1" "$2" 2>"$scratch/said") || fail "Cannot bring $2: $(first_line "$scratch/said")"
    eval "$(grep -E '^(command|clean_command)=' <<<"$said")"
    [[ -n $command ]] || fail "${1##*/} names no command for $2"
    reader=(bash -c "$command")
}

# transfer TARGET: reads, checks, unpacks and writes. Where only the beginning is wanted, whoever writes on is ended by the closed pipe.
transfer() {
    local -a ended=()
    if [[ -z $most ]]; then
        if [[ ${reader[0]} == cat && $unpack == no && ${#wanted[@]} == 0 && $1 != /dev/stdout ]]; then
            cp --reflink=auto --sparse="$sparse" --no-preserve=mode -- "${reader[2]}" "$1"
        else
            "${reader[@]}" | filter | store "$1"
        fi
        return
    fi
    "${reader[@]}" | filter | head -c "$most" | store "$1" || ended=("${PIPESTATUS[@]}")
    ((${#ended[@]})) || return 0
    ((ended[3] == 0 && ended[2] == 0 && (ended[1] == 141 || ended[1] + ended[0] == 0)))
}

# store TARGET: writes standard input.
store() {
    if [[ $1 == /dev/stdout ]]; then
        cat
    elif [[ -b $1 ]]; then
        dd of="$1" bs=1M iflag=fullblock conv=fsync status=none
    else
        cp --sparse="$sparse" --no-preserve=mode -- /dev/stdin "$1"
    fi
}

# filter: passes standard input on, sums it up, and unpacks it if it begins like a packed file.
filter() {
    local begins="" n sums=() status=0
    # dd takes these bytes and not one more; nobody waits for a sum yet
    [[ $unpack == no ]] || begins=$(dd bs=1 count=6 status=none | od -An -v -tx1 | tr -d ' \n') || return
    for ((n = 0; n < ${#wanted[@]}; n += 2)); do
        mkfifo -- "$scratch/${wanted[n]}"
        "${wanted[n]}sum" <"$scratch/${wanted[n]}" >"$scratch/${wanted[n]}.sum" &
        sums+=("$scratch/${wanted[n]}")
    done
    {
        for ((n = 0; n < ${#begins}; n += 2)); do
            printf '%b' "\\x${begins:n:2}"
        done
        cat
    } | tee -- "${sums[@]}" | unpacked "$begins" || status=$?
    wait
    return "$status"
}

# unpacked BEGINNING: unpacks standard input as its first bytes, in hexadecimal digits, say.
unpacked() {
    case $1 in
        1f8b*) gzip -dc ;;
        425a68*) bzip2 -dc ;;
        fd377a585a00) xz -dc ;;
        *) cat ;;
    esac
}

# check_sums: fails unless the file had the sums that were asked for.
check_sums() {
    local n sum
    for ((n = 0; n < ${#wanted[@]}; n += 2)); do
        read -r sum _ <"$scratch/${wanted[n]}.sum" || :
        [[ $sum == "${wanted[n + 1]}" ]] || fail "The ${wanted[n]^^} sum of $source is $sum, not ${wanted[n + 1]}"
    done
}
