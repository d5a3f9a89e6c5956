#!/bin/sh
# onetck-record-shim 1: passes the call on to the driver's own script and keeps a copy of what is seen. `onetck record uninstall` puts the script back.
# shellcheck disable=SC2015,SC2094,SC2317,SC3013,SC3045 # every failed test leads to the bare call; pipes are no files; traps call pass; dash and bash know -ef and -c
spool='@SPOOL@' family='@FAMILY@'
name=${0##*/} here=${0%/*}
[ "$here" != "$0" ] || here=.
# the script keeps its name, that of its directory, and all that lies around it
case $here in
    */"$family"/"${here##*/}") real=${here%/*}.onetck/${here##*/}/$name ;;
    *) real=$here/../../$family.onetck/${here##*/}/$name ;;
esac
if [ ! -x "$real" ] || [ "$real" -ef "$0" ]; then
    real=$here/../../$family.onetck/@DRIVER@/$name
    { [ -x "$real" ] && [ ! "$real" -ef "$0" ]; } || real='@ROOT@'/$family.onetck/@DRIVER@/$name
fi
# whatever keeps the call from being recorded, it is made; oned's programs have a pipe for each stream
[ -p /dev/fd/1 ] && [ -p /dev/fd/2 ] && [ ! /dev/fd/1 -ef /dev/fd/2 ] && [ -w "$spool" ] && [ ! -e "$spool/full" ] || exec "$real" "$@"
read -r up _ </proc/uptime
call=$spool/$up-$$
set -C
{ printf '%s\0' "$family" "${here##*/}" "$0" "$@" >"$call.a"; } 2>/dev/null || exec "$real" "$@"
# input and output are kept where the protocol has any
input='' output=''
case $family/$name in
    datastore/* | tm/monitor* | tm/*migrate* | tm/*backup*)
        output=yes
        [ ! -p /dev/fd/0 ] || input=yes
        ;;
esac
# pipes that an earlier call has made ready, or new ones
for pipe in "$spool"/ready/*.p1; do
    pipe=${pipe%.p1}
    if { printf '' >"$pipe.t"; } 2>/dev/null && [ -p "$pipe.p1" ]; then
        break
    fi
    pipe=
done
set +C
if [ -z "$pipe" ]; then
    pipe=$call
    '@MKFIFO@' "$pipe.p0" "$pipe.p1" "$pipe.p2" "$pipe.p3" 2>/dev/null || exec "$real" "$@"
fi
# dash lets what runs in the background ignore INT and QUIT, and cannot take that back; what the caller ignores cannot be trapped, and stays so
reset=
if [ -z "${BASH_VERSION-}" ]; then
    trap "reset='@RESET@'" INT
    kill -s INT $$
fi
# opened for both at first, as neither end may wait for the other
exec 8<>"$pipe.p1" 4>"$pipe.p1" 5<"$pipe.p1" 8<>"$pipe.p2" 6>"$pipe.p2" 7<"$pipe.p2" 8<&- 3<&0
# each copy ends after so many blocks of 512 bytes, what is passed on does not; both go on when the call is told to end
keep() {
    trap '' HUP INT QUIT TERM USR1 USR2 ALRM XFSZ
    ulimit -f @BLOCKS@
    LC_ALL=C exec '@TEE@' "$1" 2>/dev/null
}
if [ -n "$output" ]; then
    keep "$call.1" <&5 3<&- 4>&- 5<&- 6>&- 7<&- &
else
    exec 4>&1
fi
keep "$call.2" <&7 >&2 3<&- 4>&- 5<&- 6>&- 7<&- &
if [ -n "$input" ]; then
    exec 8<>"$pipe.p0" 9>"$pipe.p0" 0<"$pipe.p0" 8<&-
    keep "$call.0" <&3 >&9 3<&- 4>&- 5<&- 6>&- 7<&- 9>&- &
    exec 3<&0 9>&-
fi
# bash tells of a child that was killed
exec 2>/dev/null 5<&- 7<&- 8<>"$pipe.p3" 9<"$pipe.p3"
# writes the call down when it has ended, given its outcome, and makes pipes ready for a later one
finish() {
    trap '' HUP TERM USR1 USR2 ALRM
    export LC_ALL=C
    rm -f "$pipe".p? "$pipe.t"
    '@MKFIFO@' "$spool/ready/${call##*/}.p0" "$spool/ready/${call##*/}.p2" "$spool/ready/${call##*/}.p3" "$spool/ready/${call##*/}.p1"
    exec 9>>"$spool/lock"
    flock -w 10 9 || exit
    read -r used <"$spool/used"
    outcome=$1
    # shellcheck disable=SC2046 # times and sizes
    set -- $(stat -c '%.9Y %s' "$call.a" "$call.m" "$call".[012])
    begun=$1 ended=$3 size=$(($2 + $4 + $6 + $8 + ${10:-0}))
    printf '%s\n' "$((used + size))" >"$spool/used"
    limit='@LIMIT@'
    [ $((used + size)) -lt "$limit" ] || : >"$spool/full"
    printf '%s %s %s %s\n' "${call##*/}" "$begun" "$ended" "$outcome" >>"$spool/calls"
}
# it waits for the outcome, and it is the sentinel: a signal for the whole group, or for all that have this command line, ends it, one for this process alone does not
(read -r outcome <&9 && exec 9<&- && finish "$outcome") </dev/null >/dev/null 3<&- 4>&- 6>&- 8>&- &
sentinel=$! early='' again='' told=''
exec 9<&-
# passes a signal for this process alone on
pass() {
    again=yes told=yes
    if [ "$!" = "$sentinel" ]; then
        early=$1
        return
    fi
    sleep 0.05
    if waits; then
        kill -s "$1" "$!"
    fi
}
waits() {
    read -r _ _ state _ <"/proc/$sentinel/stat" || state=Z
    [ "$state" != Z ]
}
for signal in HUP TERM USR1 USR2 ALRM; do
    # shellcheck disable=SC2064 # the signal of now
    trap "pass $signal" "$signal"
done
trap : INT QUIT
# env starts faster in the C language; the script has its own
if [ -n "${BASH_VERSION-}" ]; then
    (
        trap - INT QUIT
        exec "$real" "$@"
    ) <&3 >&4 2>&6 3<&- 4>&- 6>&- 8>&- &
elif [ -z "$reset" ]; then
    "$real" "$@" <&3 >&4 2>&6 3<&- 4>&- 6>&- 8>&- &
elif [ -n "${LC_ALL+set}" ]; then
    # shellcheck disable=SC2086,SC2097,SC2098 # a command and its option; the value of before
    LC_ALL=C $reset "LC_ALL=$LC_ALL" "$real" "$@" <&3 >&4 2>&6 3<&- 4>&- 6>&- 8>&- &
else
    # shellcheck disable=SC2086
    LC_ALL=C $reset -u LC_ALL "$real" "$@" <&3 >&4 2>&6 3<&- 4>&- 6>&- 8>&- &
fi
child=$!
[ -z "$early" ] || kill -s "$early" "$child"
exec 3<&- 4>&- 6>&- </dev/null
status='' again=yes
while [ -n "$again" ]; do
    again=
    wait "$child"
    ended=$?
    [ "$ended" = 127 ] && [ -n "$status" ] || status=$ended
done
# a shell does not tell an exit with 128 and more from a signal: what signals commonly leave is taken for one, all else for an exit
case $status in
    129 | 130 | 134 | 137 | 139 | 143) signal=$((status - 128)) ;;
    *) signal=0 ;;
esac
outcome="$status $signal $child $PPID"
printf '%s\n' "$outcome" >"$call.m"
if [ -z "$told" ] || waits; then
    printf '%s\n' "$outcome" >&8
else
    finish "$outcome" </dev/null >/dev/null 8>&- &
fi
[ "$signal" = 0 ] || {
    ulimit -c 0
    trap - HUP TERM USR1 USR2 ALRM INT QUIT
    kill -"$signal" $$
}
exit "$status"
