#!/bin/bash
# Tells the downloader how disks come from rsync:// addresses: see backup_fetch.
# Arguments: URL. Prints two assignments: `command`, which writes the disk to standard output, and `clean_command`.
set -euo pipefail

printf 'command=%q\nclean_command=\n' "$(printf '%q %q -' "$(realpath -- "${0%/*}")/backup_fetch" "$1")"
