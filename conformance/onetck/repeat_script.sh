#!/bin/bash
# What follows makes what the user made, calls the scripts as oned called them, and says what each did. Nothing of the harness is needed.
set -u
remotes=${REMOTES:-/var/lib/one/remotes}
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/answers"
export ANSWERS=$work/answers PATH=$work/bin:$PATH
swaps=()

# swap RECORDED NOW: what was called RECORDED in the recording is called NOW here
swap() {
    [[ -z $1 || $1 == "$2" ]] && return
    swaps+=(-e "s|$(printf %s "$1" | sed 's/[][\.*^$|]/\\&/g')|$(printf %s "$2" | sed 's/[\\&|]/\\&/g')|g")
}

# now: standard input, with what is called otherwise here
now() {
    if ((${#swaps[@]})); then sed "${swaps[@]}"; else cat; fi
}

# at HOST COMMAND: run a command on a host
at() {
    local host
    host=$(now <<<"$1")
    if [[ $1 == frontend ]]; then bash -c "$(now <<<"$2")"; else ssh -n "$host" "$(now <<<"$2")"; fi
}

# answer STATUS WORD...: what oned answers to this command, on standard input
answer() {
    local status=$1 file
    shift
    file=$ANSWERS/$(printf '%s ' "$@" | cksum | tr -d ' ')
    now >"$file"
    echo "$status" >"$file.status"
    cat >"$work/bin/$1" <<'COMMAND'
#!/bin/bash
file=$ANSWERS/$(printf '%s ' "${0##*/}" "$@" | cksum | tr -d ' ')
[[ -f $file ]] || {
    echo "the recording has no answer to ${0##*/} $*" >&2
    exit 1
}
cat "$file"
exit "$(cat "$file.status")"
COMMAND
    chmod +x "$work/bin/$1"
}

# call NUMBER SCRIPT nothing|base64|plain RECORDED_STATUS WORD...: the document, in clear, is standard input; the word @document stands for it in base64
call() {
    local number=$1 script=$2 how=$3 recorded=$4 document word words=() status
    shift 4
    document=$(now)
    for word in "$@"; do
        if [[ $word == @document ]]; then word=$(printf %s "$document" | base64 -w0); else word=$(now <<<"$word"); fi
        words+=("$word")
    done
    echo "== call $number: $script"
    case $how in
        nothing) "$remotes/$script" "${words[@]}" </dev/null ;;
        base64) printf %s "$document" | base64 -w0 | "$remotes/$script" "${words[@]}" ;;
        plain) printf %s "$document" | "$remotes/$script" "${words[@]}" ;;
    esac >"$work/stdout" 2>"$work/stderr"
    status=$?
    echo "   exit status $status (recorded: $recorded)"
    sed 's/^/   stdout: /' "$work/stdout"
    sed 's/^/   stderr: /' "$work/stderr"
}

# took SOURCE: the call before has printed where the image lies; in the recording it was SOURCE
took() {
    local made
    read -r made _ <"$work/stdout"
    swap "$1" "${made:-$1}"
}
