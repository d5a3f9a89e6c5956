# Makes the messages by which a shared system datastore tells oned's monitor how large the disks of its VMs are.
#
# Reads lines `VM_ID/disk.DISK_ID ALLOCATED_KIB`, those of one VM together. Prints one message a line, each for a datagram: base64 of
# a zlib stream (RFC 1950) whose data are stored as they are, so that no tool for compression is needed.

BEGIN {
    for (n = 1; n < 128; n++) code[sprintf("%c", n)] = n
    digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    most = 16000 # characters of text in one datagram, which ends at 64 KiB
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
    if (text != "") print message(text)
}

function close_vm() {
    if (vm == "") return
    text = text "VM=[ID=" vm ",MONITOR=\"" base64(sizes) "\"]\n"
    sizes = ""
    if (length(text) > most) {
        print message(text)
        text = ""
    }
}

function base64(string) {
    encoded = ""
    put_string(string)
    return finished()
}

# Returns the zlib stream: header, one block that is stored and the last, the Adler-32 sum of the data.
function message(string, size) {
    encoded = ""
    size = length(string)
    put(120); put(1); put(1)
    put(size % 256); put(int(size / 256)); put(255 - size % 256); put(255 - int(size / 256))
    put_string(string)
    put(int(high / 256)); put(high % 256); put(int(low / 256)); put(low % 256)
    return finished()
}

function put_string(string, n, byte) {
    low = 1
    high = 0
    for (n = 1; n <= length(string); n++) {
        byte = code[substr(string, n, 1)]
        low = (low + byte) % 65521
        high = (high + low) % 65521
        put(byte)
    }
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
