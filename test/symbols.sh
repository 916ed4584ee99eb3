#!/bin/sh
# What libhakmem.so exports is what test/symbols.list says, no more and no less.
# shellcheck source=test/lib.sh
. "${0%/*}/lib.sh"
list=${0%/*}/symbols.list
nm -D --defined-only "$HAKMEM_LIB" | awk '{ print $3 }' | sed 's/@.*//' |
    LC_ALL=C sort >"$tmp/exported"
if overrides; then
	LC_ALL=C sort "$list" >"$tmp/expected"
else
	grep '^hak_' "$list" | LC_ALL=C sort >"$tmp/expected"
fi
diff -u "$tmp/expected" "$tmp/exported"
