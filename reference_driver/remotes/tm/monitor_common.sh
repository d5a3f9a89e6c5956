#!/bin/bash
# How transfer drivers tell oned's monitor what the disks of VMs take up. Sourced, never run, by scripts that have sourced disk_common.sh.
remotes=${BASH_SOURCE[0]%/*}/..

# send_disk_sizes: sends what disks take up, lines on standard input as disk_sizes.awk reads them, to where monitord.conf says; a front-end without that
# file has no monitor.
send_disk_sizes() {
    local conf=${ONE_LOCATION:-/etc/one}${ONE_LOCATION:+/etc}/monitord.conf settings address=127.0.0.1 port=4124 key='' message
    [[ -r $conf ]] || return 0
    settings=$(<"$conf")
    if [[ $settings =~ MONITOR_ADDRESS[[:space:]]*=[[:space:]]*\"([^\"]+)\" && ${BASH_REMATCH[1]} != auto ]]; then
        address=${BASH_REMATCH[1]}
    fi
    if [[ $settings =~ [^A-Z_]PORT[[:space:]]*=[[:space:]]*\"?([0-9]+) ]]; then
        port=${BASH_REMATCH[1]}
    fi
    if [[ $settings =~ PUBKEY[[:space:]]*=[[:space:]]*\"([^\"]+)\" && -r ${BASH_REMATCH[1]} ]]; then
        key=${BASH_REMATCH[1]}
    fi
    # one write makes one datagram, which printf does not promise
    while IFS= read -r message; do
        cat <<<"MONITOR_VM SUCCESS -1 0 $message" >"/dev/udp/$address/$port"
    done < <(messages "$key")
}

# messages KEY: makes messages of the sizes on standard input; encrypted, if there is a key.
messages() {
    local text
    if [[ -z $1 ]]; then
        awk -f "$remotes/tm/disk_sizes.awk"
        return
    fi
    while IFS= read -r text; do
        encrypted "$1" "$text" | awk -v take=hex -f "$remotes/tm/disk_sizes.awk"
    done < <(awk -v give=text -f "$remotes/tm/disk_sizes.awk")
}

# encrypted KEY TEXT: prints the text in hexadecimal digits, encrypted in blocks that leave 11 bytes of the key's length for the padding.
encrypted() {
    local public at block
    public=$(openssl rsa -RSAPublicKey_in -in "$1" -pubout 2>/dev/null)
    block=$(openssl rsa -RSAPublicKey_in -in "$1" -noout -text 2>/dev/null | sed -n 's/.*Public-Key: (\([0-9]*\) bit.*/\1/p')
    block=$((block / 8 - 11))
    for ((at = 0; at < ${#2}; at += block)); do
        printf %s "${2:at:block}" | openssl pkeyutl -encrypt -pubin -inkey <(printf '%s\n' "$public") | od -An -v -tx1
    done
}
