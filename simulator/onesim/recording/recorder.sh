#!/bin/sh
# Puts a recording shim in the place of each script of an installed OpenNebula storage driver, and takes it away again. Needs no more than a shell and coreutils.
# shellcheck disable=SC3013 # dash and bash know -ef
set -eu
umask 022
program=${ONETCK_PROGRAM:-${0##*/}}
actions='@ACTIONS@'
marker='^# onetck-record-shim '

fail() {
    printf '%s: %s\n' "$program" "$1" >&2
    exit "${2:-4}"
}

usage() {
    cat <<TXT
usage: $program install REMOTES_DIR --driver [tm/|datastore/]NAME [--spool DIR] [--limit-mb N] [--call-kb N]
       $program uninstall REMOTES_DIR [--driver [tm/|datastore/]NAME]
       $program status REMOTES_DIR
TXT
}

shimmed() {
    [ -f "$1" ] && [ ! -L "$1" ] && sed -n '2p' "$1" 2>/dev/null | grep -qa "$marker"
}

# whether an entry of a driver's directory is one that oned or its programs start
is_action() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    action=${1##*/}
    case " $actions " in
        *" $family/${action%%.*} "*) return 0 ;;
    esac
    return 1
}

# all entries of a directory, hidden ones too, one a line
entries() {
    find "$1" -mindepth 1 -maxdepth 1 ! -name '*
*' | sort
}

# the family's other drivers and files, as seen from beside the scripts that were put aside
mirror() {
    inside=$(readlink -f "$tree/$driver")
    entries "$tree" | while IFS= read -r one; do
        name=${one##*/}
        if [ -e "$aside/$name" ] || [ -L "$aside/$name" ]; then
            continue
        fi
        if [ -L "$one" ] && [ "$(readlink -f "$one")" = "$inside" ]; then
            ln -s "$driver" "$aside/$name"
        elif [ -d "$one" ] && [ ! -L "$one" ] && [ "$name" != "$driver" ] && borrows "$one"; then
            mkdir "$aside/$name"
            entries "$one" | while IFS= read -r file; do
                target=$(readlink -f "$file")
                case $target in
                    "$inside"/*) ln -s "../$driver/${target#"$inside"/}" "$aside/$name/${file##*/}" ;;
                    *) ln -s "../../$family/$name/${file##*/}" "$aside/$name/${file##*/}" ;;
                esac
            done
        elif [ "$name" != "$driver" ]; then
            ln -s "../$family/$name" "$aside/$name"
        fi
    done
}

# whether a driver has links to scripts of the one that is recorded
borrows() {
    find "$1" -maxdepth 1 -type l | while IFS= read -r link; do
        case $(readlink -f "$link") in
            "$inside"/*) echo yes && break ;;
        esac
    done | grep -q yes
}

# sets family, driver, tree, aside, kept, state
name_driver() {
    family=${1%%/*} driver=${1#*/}
    tree=$root/$family aside=$root/$family.onetck
    kept=$aside/.kept-$driver state=$aside/.state-$driver
}

# the drivers that a name means, as family/name
named() {
    case $1 in
        tm/?* | datastore/?*) set -- "$1" ;;
        */*) fail "--driver $1: not NAME, tm/NAME or datastore/NAME" ;;
        *) set -- "tm/$1" "datastore/$1" ;;
    esac
    found=
    for one; do
        [ ! -d "$root/$one" ] || found="$found $one"
    done
    printf '%s' "$found"
}

check() {
    name_driver "$1"
    [ ! -L "$tree/$driver" ] || fail "$tree/$driver is a link to $(readlink "$tree/$driver"); record that driver"
    if [ -e "$state" ]; then
        read -r word <"$state"
        [ "$word" = installed ] || fail "$tree/$driver: an installation was broken off; run \`$program uninstall $root\` first"
        sed 1,2d "$state" | while IFS= read -r original; do
            shimmed "$tree/$driver/$original" ||
                fail "$tree/$driver/$original is no shim any more; run \`$program uninstall $root\` first, which leaves it as it is, then install again"
        done
        return
    fi
    [ ! -e "$kept" ] || fail "$kept is there, but nothing says what it is for; run \`$program uninstall $root\` first"
    entries "$tree/$driver" | while IFS= read -r one; do
        ! shimmed "$one" || fail "$one is a shim whose script is gone; put the driver's own file back, such as from its package"
    done
}

install() {
    name_driver "$1"
    if [ -e "$state" ]; then
        echo "$tree/$driver: recorded already, into $(sed -n 2p "$state")"
        return
    fi
    mkdir -p "$aside"
    mirror
    printf '%s\n' installing "$spool" >"$state"
    touch -r "$tree/$driver" "$aside/.time-$driver"
    mkdir "$kept"
    chmod --reference="$tree/$driver" "$kept"
    entries "$tree/$driver" | while IFS= read -r one; do
        if is_action "$one"; then
            ln -P "$one" "$kept/${one##*/}" 2>/dev/null || cp -pP "$one" "$kept/${one##*/}"
            echo "${one##*/}" >>"$state"
        else
            ln -s "../../$family/$driver/${one##*/}" "$kept/${one##*/}"
        fi
    done
    count=$(sed 1,2d "$state" | wc -l)
    [ "$count" -gt 0 ] || {
        rm -rf "$kept" "$state" "$aside/.time-$driver"
        fail "$tree/$driver has no executable script that OpenNebula calls"
    }
    ln -s ".kept-$driver" "$aside/.new-$driver"
    mv -T "$aside/.new-$driver" "$aside/$driver"
    sed 1,2d "$state" | while IFS= read -r one; do
        made=$tree/$driver/.onetck-$one
        shim >"$made"
        chmod --reference="$tree/$driver/$one" "$made"
        [ "$(id -u)" != 0 ] || chown --reference="$tree/$driver/$one" "$made"
        mv -f "$made" "$tree/$driver/$one"
    done
    sed '1s/.*/installed/' "$state" >"$state.new"
    mv -f "$state.new" "$state"
    touch -r "$aside/.time-$driver" "$tree/$driver"
    if [ "$(id -u)" = 0 ]; then
        chown -R --no-dereference --reference="$tree/$driver" "$aside/$driver"
    fi
    echo "$tree/$driver: $count scripts are recorded into $spool"
}

shim() {
    shim_text | sed -e "s|@SPOOL@|$spool|" -e "s|@ROOT@|$root|g" -e "s|@FAMILY@|$family|g" -e "s|@DRIVER@|$driver|g" -e "s|@MKFIFO@|$mkfifo|g" \
        -e "s|@TEE@|$tee|" -e "s|@RESET@|$reset|" -e "s|@BLOCKS@|$((call_kb * 2))|g" -e "s|@LIMIT@|$((limit_mb * 1048576))|"
}

uninstall() {
    name_driver "$1"
    where=$(sed -n 2p "$state" 2>/dev/null || :)
    if [ -d "$kept" ]; then
        entries "$kept" | while IFS= read -r one; do
            name=${one##*/}
            here=$tree/$driver/$name
            if [ -L "$one" ] && [ "$(readlink "$one")" = "../../$family/$driver/$name" ]; then
                :
            elif shimmed "$here"; then
                mv -f "$one" "$here"
            elif [ -e "$here" ] && [ ! "$one" -ef "$here" ]; then
                echo "$here: was replaced since; it stays as it is"
                rm -f "$one"
            elif [ -e "$here" ] || [ -L "$here" ]; then
                rm -f "$one"
            elif grep -qxF -- "$name" "$state" 2>/dev/null; then
                echo "$here: was removed since; it stays so"
                rm -f "$one"
            else
                mv "$one" "$here" # made by a script in its own directory
            fi
        done
    fi
    rm -f "$tree/$driver"/.onetck-*
    [ ! -e "$aside/.time-$driver" ] || touch -r "$aside/.time-$driver" "$tree/$driver"
    running=$(still_running "$where")
    if [ -n "$running" ]; then
        echo "$tree/$driver: not recorded any more; calls still run ($running), run \`$program uninstall $root\` again when they have ended"
        return 3
    fi
    rm -rf "$kept" "$state" "$state.new" "$aside/.time-$driver" "$aside/.new-$driver"
    rm -f "$aside/$driver"
    if find "$aside" -maxdepth 1 -name '.state-*' | grep -q .; then
        ln -s "../$family/$driver" "$aside/$driver"
    else
        rm -rf "$aside"
    fi
    echo "$tree/$driver: as it was before${where:+; what was recorded is in $where}"
}

# the processes of calls that have begun and not ended; waits for them at most ten seconds
still_running() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left=
        for one in "$1"/*.a; do
            id=${one##*-}
            id=${id%.a}
            if [ -e "$one" ] && [ ! -e "${one%.a}.m" ] && grep -qaF "/$family" "/proc/$id/cmdline" 2>/dev/null; then
                left="$left $id"
            fi
        done
        [ -n "$left" ] || return 0
        sleep 1
    done
    echo "processes$left"
}

shim_text() {
    cat <<'SHIM'
@SHIM@
SHIM
}

[ $# -ge 2 ] || {
    usage >&2
    exit 4
}
command=$1 given=$2
shift 2
wanted='' spool='' limit_mb=512 call_kb=256
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
        --driver) wanted=$2 ;;
        --spool) spool=$2 ;;
        --limit-mb) limit_mb=$2 ;;
        --call-kb) call_kb=$2 ;;
        *) fail "unknown option $1" ;;
    esac
    shift 2
done
case $limit_mb$call_kb in
    *[!0-9]*) fail "--limit-mb and --call-kb are whole numbers" ;;
esac
[ -d "$given/tm" ] || [ -d "$given/datastore" ] || fail "$given: no remotes tree, which has the directories tm and datastore"
root=$(cd "$given" && pwd -P)
case $root$spool in
    *[\'\|\&\\=]*) fail "$root: names with quotes, bars, ampersands, backslashes or equals signs cannot be recorded" ;;
esac

case $command in
    install)
        [ -n "$wanted" ] || fail "name the driver to record with --driver"
        drivers=$(named "$wanted")
        [ -n "$drivers" ] || fail "$root: there is no driver $wanted; there are $(cd "$root" && find tm datastore -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort | tr '\n' ' ')"
        tee=$(command -v tee) mkfifo=$(command -v mkfifo)
        for needed in flock stat; do
            command -v "$needed" >/dev/null || fail "$needed is needed and is not here" 3
        done
        reset=
        ! env --default-signal=INT,QUIT true 2>/dev/null || reset="$(command -v env) --default-signal=INT,QUIT"
        spool=${spool:-${root%/*}/onetck-spool}
        case $spool in
            "$root" | "$root"/*) fail "--spool $spool: below the remotes, which go to the hosts; choose another place" ;;
            /*) ;;
            *) spool=$PWD/$spool ;;
        esac
        for one in $drivers; do
            case $one in
                *=*) fail "$root/$one: names with equals signs cannot be recorded" ;;
            esac
            check "$one"
        done
        mkdir -p "$spool"
        chmod 700 "$spool"
        [ "$(id -u)" != 0 ] || chown --reference="$root/${drivers# }" "$spool" 2>/dev/null || chown --reference="$root" "$spool"
        [ -e "$spool/used" ] || echo 0 >"$spool/used"
        touch "$spool/lock" "$spool/calls"
        mkdir -p "$spool/ready"
        for n in 1 2 3 4 5 6 7 8; do
            [ -p "$spool/ready/$n.p1" ] || "$mkfifo" "$spool/ready/$n.p0" "$spool/ready/$n.p2" "$spool/ready/$n.p3" "$spool/ready/$n.p1" || :
        done
        if [ "$(id -u)" = 0 ]; then
            chown -R --reference="$spool" "$spool"
        fi
        for one in $drivers; do
            install "$one"
        done
        ;;
    uninstall | status)
        status=0
        for one in "$root"/tm.onetck/.state-* "$root"/datastore.onetck/.state-* "$root"/tm.onetck/.kept-* "$root"/datastore.onetck/.kept-*; do
            [ -e "$one" ] || continue
            family=${one#"$root"/}
            family=${family%%.onetck*}
            name=${one##*/.}
            name=${name#*-}
            [ "${one##*/}" = ".state-$name" ] || [ ! -e "$root/$family.onetck/.state-$name" ] || continue
            [ -z "$wanted" ] || [ "$wanted" = "$name" ] || [ "$wanted" = "$family/$name" ] || continue
            if [ "$command" = status ]; then
                echo "$family/$name: $(sed -n 1p "$one") into $(sed -n 2p "$one"), $(sed 1,2d "$one" | wc -l) scripts"
            else
                uninstall "$family/$name" || status=$?
            fi
        done
        exit "$status"
        ;;
    *)
        usage >&2
        exit 4
        ;;
esac
