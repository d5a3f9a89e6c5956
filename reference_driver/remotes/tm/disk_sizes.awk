# Makes the messages by which a shared system datastore tells oned's monitor how large the disks of its VMs are.
#
# Reads lines `VM_ID/disk.DISK_ID ALLOCATED_KIB`, those of one VM together. Prints one message a line, each for a datagram: base64 of
# a zlib stream (RFC 1950) whose data are stored as they are, so that no tool for compression is needed.
#
# Where messages are encrypted, two runs do that with a tool for it in between: with -v give=text it prints each text, on a line, in place of the message;
# with -v take=hex it reads bytes in hexadecimal digits, and makes one message of them.

BEGIN {
    for (n = 1; n < 128; n++) code[sprintf("%c", n)] = n
    digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    hex_digit = "0123456789abcdef"
    most = 16000 # characters of text in one datagram, which ends at 64 KiB
}

take == "hex" {
    gsub(/[^0-9a-f]/, "")
    bytes = bytes $0
    next
}

{
    split($1, id, "/disk[.]")
    if (id[1] "" != vm "") {
        close_vm()
        vm = id[1]
    }
    sizes = sizes "DISK_SIZE=[ID=" id[2] ",SIZE=" int(($2 + 1023) / 1024) "]\n"
}

END {
    close_vm()
    if (text != "") tell()
    if (bytes != "") print message_of_bytes()
}

function tell() {
    print (give == "text" ? text : message(text))
    text = ""
}

function close_vm() {
    if (vm == "") return
    text = text "VM=[ID=" vm ",MONITOR=\"" base64(sizes) "\"] "
    sizes = ""
    if (length(text) > most) tell()
}

function base64(string) {
    encoded = ""
    put_string(string)
    return finished()
}

# The zlib stream: header, one block that is stored and the last, the Adler-32 sum of the data.
function begin(size) {
    encoded = ""
    low = 1
    high = 0
    put(120); put(1); put(1)
    put(size % 256); put(int(size / 256)); put(255 - size % 256); put(255 - int(size / 256))
}

function end() {
    put(int(high / 256)); put(high % 256); put(int(low / 256)); put(low % 256)
    return finished()
}

function message(string) {
    begin(length(string))
    put_string(string)
    return end()
}

function message_of_bytes(n) {
    begin(length(bytes) / 2)
    for (n = 1; n < length(bytes); n += 2) add(16 * nibble(n) + nibble(n + 1))
    return end()
}

function nibble(n) {
    return index(hex_digit, substr(bytes, n, 1)) - 1
}

function put_string(string, n) {
    for (n = 1; n <= length(string); n++) add(code[substr(string, n, 1)])
}

# Puts a byte of the data: it counts in the sum.
function add(byte) {
    low = (low + byte) % 65521
    high = (high + low) % 65521
    put(byte)
}

function put(byte) {
    group = group * 256 + byte
    if (++held == 3) {
        encoded = encoded six(262144) six(4096) six(64) six(1)
        group = held = 0
    }
}

function six(unit) {
    return substr(digit, int(group / unit) % 64 + 1, 1)
}

function finished() {
    if (held == 1) {
        group *= 65536
        encoded = encoded six(262144) six(4096) "=="
    } else if (held == 2) {
        group *= 256
        encoded = encoded six(262144) six(4096) six(64) "="
    }
    group = held = 0
    return encoded
}
