#!/bin/sh
# Each misuse must be reported by exactly one line and end the process by
# SIGABRT. A program prints the pointer (and the object around it), so the line
# is compared whole.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
# shellcheck disable=SC3045
ulimit -c 0

# misuse WHAT PROGRAM...: WHAT is foreign, double or interior, of $call. A resize that
# cannot free its object says so of free, too.
call=free
misuse() {
	what=$1
	shift
	for name; do
		program "misuse/$name"
		# In the background, or the shell adds "Aborted" to the message.
		timeout 60 "$prog" >"$tmp/stdout" 2>"$tmp/stderr" &
		wait $! 2>/dev/null
		status=$?
		base='' size='' p=''
		if [ "$what" = interior ]; then
			read -r base size p <"$tmp/stdout"
		else
			read -r p <"$tmp/stdout"
		fi
		case $what in
		double) text="double free" ;;
		foreign) text="not a hakmem pointer" ;;
		interior) text="not the start of an object (inside $base, $size bytes)" ;;
		esac
		count=$((count + 1))
		echo "hakmem: $call($p): $text" >"$tmp/expected"
		if [ $status -ne 134 ]; then
			fail "$name: status $status, not SIGABRT"
		fi
		if ! cmp -s "$tmp/expected" "$tmp/stderr"; then
			fail "$name: wrong message"
			sed 's/^/    expected /' "$tmp/expected"
			sed 's/^/    got      /' "$tmp/stderr"
		fi
	done
}

# With its layers off hakmem must see the same.
all() {
	export HAKMEM_CONF="$1"
	misuse double double_free_tiny double_free_small \
	    double_free_small_between double_free_small_delayed \
	    double_free_interleaved \
	    double_free_medium double_free_medium_delayed double_free_large \
	    double_free_whale double_free_whale_delayed double_free_aligned \
	    double_free_other_thread double_free_by_other_thread \
	    double_free_two_threads double_free_no_cache double_free_sized
	misuse interior free_interior_small free_interior_unaligned \
	    free_interior_at_once \
	    free_interior_medium free_interior_large \
	    free_interior_large_unaligned free_interior_whale \
	    free_interior_whale_start
	misuse foreign free_stack free_static free_code free_mmap \
	    free_wild_high free_wild_top free_wild_low free_before_first
	misuse double realloc_freed realloc_freed_large \
	    realloc_freed_cached realloc_freed_below \
	    realloc_freed_depot realloc_freed_whale
	misuse interior realloc_interior
	misuse foreign realloc_static
	call=malloc_usable_size misuse foreign usable_size_static
}

count=0
all ""
all "tls_tiny:false,tls_l2:false,tls_l25:false,whale:false"

# In a site's cache of the thread.
export HAKMEM_CONF="site:*realloc_freed_cached*=site"
misuse double realloc_freed_cached

# No program is forgotten here.
for file in "$srctest"/misuse/*.c; do
	name=${file##*/}
	grep -qw "${name%.c}" "$0" || fail "$name: not in run.sh"
done

[ "$failed" -eq 0 ] || exit 1
echo "misuse/run.sh: ok ($count runs)"
