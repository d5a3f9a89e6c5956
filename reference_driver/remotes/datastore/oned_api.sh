#!/bin/bash
# Asking oned for new objects through its XML-RPC interface. Sourced after storage_common.sh.
# shellcheck disable=SC2154 # set there

# quoted TEXT: prints a value for a template of OpenNebula.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"\n' "${text//\"/\\\"}"
}

# escaped TEXT: prints a text for an XML document.
escaped() {
    local text=${1//&/'&amp;'}
    text=${text//</'&lt;'}
    printf '%s\n' "${text//>/'&gt;'}"
}

# ask_oned METHOD [TYPE VALUE]...: sends a request; sets `answer`, or `said` and returns 1 if oned refuses.
ask_oned() {
    local body session endpoint=${ONE_XMLRPC:-} reply
    local values=/methodResponse/params/param/value/array/data
    [[ -n $endpoint || ! -r ~/.one/one_endpoint ]] || endpoint=$(<~/.one/one_endpoint)
    session=$(<"${ONE_AUTH:-$HOME/.one/one_auth}")
    body="<?xml version=\"1.0\"?><methodCall><methodName>$1</methodName><params><param><value><string>$(escaped "$session")</string></value></param>"
    shift
    while (($#)); do
        body+="<param><value><$1>$(escaped "$2")</$1></value></param>"
        shift 2
    done
    # through standard input: what is in arguments, everybody can see
    reply=$(curl -fsS --max-time 170 -H 'Content-Type: text/xml' --data-binary @- "${endpoint:-http://localhost:2633/RPC2}" \
        <<<"$body</params></methodCall>" 2>&1) || {
        said="oned does not answer: $reply"
        return 1
    }
    read_texts "$values/value[1]/boolean" "$values/value[2]/i4" "$values/value[2]/int" "$values/value[2]/string" "$values/value[2]" <<<"$reply"
    answer=${texts[1]:-${texts[2]}}
    said=${texts[3]:-${texts[4]:-no answer that can be read}}
    [[ ${texts[0]} == 1 && $answer =~ ^[0-9]+$ ]]
}

# give_to USER KIND ID: makes the user the owner of a new object; an empty USER, or oned's own, leaves it as it is.
give_to() {
    local session document
    session=$(<"${ONE_AUTH:-$HOME/.one/one_auth}")
    [[ -n $1 && $1 != "${session%%:*}" ]] || return 0
    document=$(oneuser show -x "$1") || fail "There is no user $1; $2 $3 is made already"
    read_texts ID GID <<<"$document"
    ask_oned "one.$2.chown" i4 "$3" i4 "${texts[0]}" i4 "${texts[1]}" || fail "Cannot give $2 $3 to $1: $said"
}
