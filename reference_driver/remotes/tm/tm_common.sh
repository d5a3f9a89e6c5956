#!/bin/bash
# The helper runtime of transfer drivers. A front-end has its own copy of this file; here it leads to the common helpers, `is_disk` among them.

# shellcheck source=../scripts_common.sh
source "${BASH_SOURCE[0]%/*}/../scripts_common.sh"
