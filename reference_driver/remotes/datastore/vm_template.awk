# Prints the TEMPLATE of a VM as a template of OpenNebula from which the VM can be made again: without its disks, which are new images, and
# without what oned adds to a VM that runs. It stands before document.awk, which reads the document. Variables: no_nic=YES, no_ip=YES.

END {
    if (bad || depth || held != "" || root != "VM") exit 1
    drops = "^(AUTOMATIC_.*|VMID|TEMPLATE_ID|TM_MAD_SYSTEM|DISK|SNAPSHOT|SECURITY_GROUP_RULE|NIC_ALIAS|UUID|DISK_ID|TARGET|ETH[0-9].*|PORT)$"
    nic = "^(NETWORK|NETWORK_UNAME|NETWORK_ID|IP|IP6|MAC|MODEL|SECURITY_GROUPS|VIRTIO_QUEUES)$"
    if (no_ip == "YES") nic = "^(NETWORK|NETWORK_UNAME|NETWORK_ID|MODEL|SECURITY_GROUPS|VIRTIO_QUEUES)$"
    for (n = 1; n <= elements; n++) {
        last = split(order[n], step, "/")
        if (step[2] != "VM[1]" || step[3] != "TEMPLATE[1]" || last < 4 || last > 5) continue
        outer = bare(step[4])
        if (outer ~ drops || (outer == "NIC" && no_nic == "YES")) continue
        if (last == 4) {
            give()
            within = outer
            own = value[order[n]]
        } else {
            inner = bare(step[5])
            if (inner !~ drops && (outer != "NIC" || inner ~ nic)) vector = vector (vector == "" ? "" : ",") inner "=" in_quotes(value[order[n]])
            own = ""
        }
    }
    give()
}

# Prints the attribute that has been gathered.
function give() {
    if (vector != "") printf "%s=[%s]\n", within, vector
    else if (within != "" && own != "") printf "%s=%s\n", within, in_quotes(own)
    vector = within = own = ""
}

function bare(step) {
    sub(/\[[0-9]+\]$/, "", step)
    return step
}

function in_quotes(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    return "\"" text "\""
}
