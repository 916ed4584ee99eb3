#!/bin/sh
# Programs that are linked to jemalloc run on libhakmem-jemalloc.so, their own use of
# jemalloc's controls included: redis-server and rocksdb's db_bench, as Debian has them.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "hakmem is not preloadable"
preload=${HAKMEM_LIB%/*}/libhakmem-jemalloc.so
[ -f "$preload" ] || skip "no libhakmem-jemalloc.so was built"
ran=0

# JSON in jemalloc's shape, for those who read that.
cat >"$tmp/json.c" <<'EOC'
void malloc_stats_print(void (*write)(void *, const char *), void *, const char *);
void *mallocx(unsigned long, int);
int main(void)
{
	mallocx(1000, 0);
	malloc_stats_print(0, 0, "J");
	return 0;
}
EOC
if have jq && ${CC:-cc} "$tmp/json.c" -o "$tmp/json" "$preload"; then
	LD_LIBRARY_PATH=${preload%/*} "$tmp/json" 2>"$tmp/stats.json"
	jq -e '.jemalloc | .version and .config and .opt.narenas and
	    .arenas.nbins == (.arenas.bin | length) and .arenas.bin[0].size == 8 and
	    .arenas.nlextents == (.arenas.lextent | length) and
	    .stats.allocated >= 0 and .stats.background_thread.num_threads >= 0 and
	    (.["stats.arenas"].merged | (.small.allocated >= 0 and
	    .bins[1].nmalloc >= 0 and .lextents[0].curlextents >= 0)) and
	    .["stats.arenas"]["0"].nthreads >= 0' "$tmp/stats.json" >"$tmp/said" ||
	    fail "not jemalloc's JSON: $(head -c 300 "$tmp/stats.json")"
fi

linked() {
	command -v "$1" >/dev/null && ldd "$(command -v "$1")" | grep -q libjemalloc
}

if linked redis-server && command -v redis-cli >/dev/null; then
	port=$((20000 + $$ % 20000))
	LD_PRELOAD=$preload redis-server --port $port --bind 127.0.0.1 --save '' \
	    --appendonly no --dir "$tmp" >"$tmp/redis.log" 2>&1 &
	server=$!
	ask() {
		redis-cli -h 127.0.0.1 -p $port "$@"
	}
	for _ in $(seq 100); do
		ask ping >/dev/null 2>&1 && break
		sleep 0.1
	done
	grep -q libhakmem-jemalloc "/proc/$server/maps" || fail "redis: no preload"
	redis-benchmark -h 127.0.0.1 -p $port -q -n 100000 -r 100000 -d 300 -P 16 \
	    -t set >/dev/null 2>&1
	# redis asks for its allocator's numbers ten times a second.
	sleep 1
	ask memory stats >"$tmp/stats"
	number() {
		grep -A 1 -x "$1" "$tmp/stats" | tail -n 1 | sed 's/^(integer) //'
	}
	allocated=$(number allocator.allocated)
	active=$(number allocator.active)
	resident=$(number allocator.resident)
	[ "${allocated:-0}" -gt 20000000 ] || fail "redis: allocated $allocated"
	[ "${active:-0}" -ge "$allocated" ] || fail "redis: active $active"
	[ "${resident:-0}" -ge "$active" ] || fail "redis: resident $resident"
	[ "$(ask memory purge)" = OK ] || fail "redis: MEMORY PURGE failed"
	ask memory malloc-stats >"$tmp/malloc-stats"
	grep -q '^stats.allocated: [0-9]' "$tmp/malloc-stats" ||
	    fail "redis: MEMORY MALLOC-STATS is not hakmem's"
	ask flushall >/dev/null
	ask memory purge >/dev/null
	sleep 1
	ask memory stats >"$tmp/stats"
	[ "$(number allocator.allocated)" -lt 20000000 ] || fail "redis: after flushall"
	ask shutdown nosave >/dev/null 2>&1
	wait "$server" 2>/dev/null
	ran=$((ran + 1))
fi

if linked db_bench; then
	LD_PRELOAD=$preload HAKMEM_CONF=stats_print:true db_bench \
	    --benchmarks=fillrandom,readrandom,memstats --num=50000 --threads=2 \
	    --db="$tmp/db" >"$tmp/db.out" 2>"$tmp/db.err" || fail "db_bench: status $?"
	grep -q '^readrandom' "$tmp/db.out" || fail "db_bench: no readrandom"
	served=$(sed -n 's/^tls.tiny.hits: //p' "$tmp/db.err" | tail -n 1)
	[ "${served:-0}" -gt 50000 ] || fail "db_bench: hakmem served $served"
	ran=$((ran + 1))
fi

# One that takes memory by jemalloc's own name and gives it to free: hakmem-run sees it,
# and who preloads the other library is told.
jemalloc=$(ldconfig -p 2>/dev/null | sed -n 's/.*libjemalloc\.so\.2 .*=> //p' | head -n 1)
if [ -n "$jemalloc" ]; then
	cat >"$tmp/mixed.c" <<-'C'
	#include <stdlib.h>
	void *mallocx(size_t, int);
	int main(void) { free(mallocx(100, 0)); return 0; }
	C
	"${CC:-cc}" -o "$tmp/mixed" "$tmp/mixed.c" "$jemalloc" || fail "mixed: no program"
	"$BUILDDIR/bin/hakmem-run" "$tmp/mixed" || fail "mixed: hakmem-run: status $?"
	if (LD_PRELOAD=$HAKMEM_LIB "$tmp/mixed") 2>"$tmp/mixed.err"; then
		fail "mixed: not seen"
	fi
	grep -q 'not a hakmem pointer (.*preload libhakmem-jemalloc' "$tmp/mixed.err" ||
	    fail "mixed: no hint"
	ran=$((ran + 1))
fi

[ $ran -gt 0 ] || skip "neither redis-server nor db_bench is here and linked to jemalloc"
[ "$failed" -eq 0 ] || exit 1
echo "integration/jemalloc.sh: ok, $ran programs"
