#!/bin/sh
# Real programs with hakmem preloaded: each runs a piece of work twice, without
# it and with it, and what it prints must be the same. A program that is not
# installed is skipped by name.
#
# usage: run.sh [NAME...]	these only
#
# The work of NAME is the function do_NAME below; it runs in a process and a
# folder of its own, with a time limit. need_NAME tells what must be installed.

programs='python3 python3_tests perl sqlite3 git gcc gxx clang lua redis
memcached nginx postgres node java ruby bash stress_ng'

need_python3() { have python3; }
do_python3() {
	export PYTHONMALLOC=malloc PYTHONHASHSEED=1
	cat >work.py <<'PY'
import hashlib, json, random, re, sqlite3, threading, zlib
random.seed(7)
docs = [{"id": i, "name": "n%d" % i, "tags": [str(random.random()) for _ in range(i % 30)],
         "sub": {"a": list(range(i % 50)), "b": "x" * (i % 3000)}} for i in range(3000)]
text = json.dumps(docs, sort_keys=True)
assert json.loads(text) == docs
print("json", hashlib.sha256(text.encode()).hexdigest())
words = re.findall(r"[0-9]{3,}", text)
count = {}
for w in words:
    count[w[:3]] = count.get(w[:3], 0) + 1
print("re", len(words), sorted(count.items())[:5])
print("zlib", zlib.decompress(zlib.compress(text.encode())) == text.encode())
db = sqlite3.connect(":memory:")
db.execute("create table t (a integer, b text)")
db.executemany("insert into t values (?, ?)", [(i, "v%d" % (i % 97)) for i in range(30000)])
print("sqlite", db.execute("select b, count(*), sum(a) from t group by b order by b limit 3").fetchall())
sums = [0] * 4
def work(n):
    keep = []
    for i in range(20000):
        keep.append(bytearray(i % 700))
        if len(keep) > 500:
            sums[n] += len(keep.pop(i % 500))
    sums[n] += sum(map(len, keep))
ts = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in ts]
[t.join() for t in ts]
print("threads", sums)
big = [bytes(5_000_000) for _ in range(20)]
print("big", sum(map(len, big)))
PY
	python3 work.py
}

need_python3_tests() { have python3 && python3 -c 'import test.test_list' 2>/dev/null; }
do_python3_tests() {
	export PYTHONMALLOC=malloc
	for t in test_list test_dict test_json test_set test_bytes test_gc; do
		echo "$t"
		python3 -m unittest -q "test.$t" 2>&1 |
		    sed -n 's/^\(Ran [0-9]* tests\).*/\1/p;/^OK/p;/^FAIL/p;/^ERROR/p'
	done
}

need_perl() { have perl; }
do_perl() {
	cat >work.pl <<'PL'
use strict;
my (%h, @a);
my $seed = 1;
sub rnd { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed % $_[0]; }
for my $i (1 .. 200000) {
	my $k = "key" . rnd(40000);
	$h{$k} .= chr(97 + rnd(26));
	push @a, [$i, $k] if $i % 7 == 0;
	delete $h{"key" . rnd(40000)} if $i % 3 == 0;
}
my $s = join ",", map { "$_=$h{$_}" } sort keys %h;
print length($s), " ", unpack("%32C*", $s), "\n";
(my $t = $s) =~ s/(key)(\d+)/$2$1/g;
print unpack("%32C*", substr($t, 1000, 50000)), " ", scalar(@a), "\n";
my @b = sort { $b->[1] cmp $a->[1] || $a->[0] <=> $b->[0] } @a;
print "$b[0][1] $b[-1][1]\n";
PL
	perl work.pl
}

need_sqlite3() { have sqlite3; }
do_sqlite3() {
	sqlite3 work.db <<'SQL'
create table t (id integer primary key, a int, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
insert into t select i, i * 7919 % 10007, printf('text %d %s', i, hex(zeroblob(i % 40))) from n;
create index ta on t (a);
create table u as select a, count(*) c, group_concat(id) g from t group by a;
select count(*), sum(c), max(length(g)) from u;
select t.a, u.c from t join u using (a) order by t.b desc limit 3;
delete from t where id % 3 = 0;
update t set b = b || b where id % 5 = 0;
vacuum;
select count(*), sum(length(b)) from t;
pragma integrity_check;
SQL
}

need_git() { have git; }
do_git() {
	export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a \
	    GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a \
	    GIT_COMMITTER_EMAIL=a@example.com
	git init -q -b main one && cd one || return 1
	i=0
	while [ $i -lt 12 ]; do
		j=0
		while [ $j -lt 25 ]; do
			seq $((i * j)) $((i * 100 + j * 3 + 50)) >"file$((i * j % 60))"
			j=$((j + 1))
		done
		GIT_AUTHOR_DATE="$((1000000000 + i)) +0000"
		GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
		export GIT_AUTHOR_DATE GIT_COMMITTER_DATE
		git add . && git commit -q -m "commit $i"
		i=$((i + 1))
	done
	git rev-parse HEAD
	git checkout -q -b side HEAD~4 && seq 1000 >side && git add side &&
	    git commit -q -m side && git merge -q -m merge main
	git gc -q --prune=now
	git fsck --full --strict 2>/dev/null; echo "fsck $?"
	cd .. && git clone -q --no-local one two && cd two || return 1
	git repack -q -a -d -f --threads=4
	git rev-list --objects --all | sort | cksum
	git log --oneline --stat | cksum
	git diff HEAD~3 | cksum
}

# The same object from the same source.
compile() {
	for source in "$srctest"/stress/model.c "$srctest"/integration/api.c; do
		"$1" -std=gnu11 -O2 -I "$srctest/../include" -c "$source" -o out.o &&
		    cksum <out.o
	done
	# One large function, and enough of them.
	awk 'BEGIN { for (i = 0; i < 400; i++) printf "int f%d(int x) { switch (x) { case %d: return x * %d; default: return x ? f%d(x / 2) + %d : 1; } }\n", i, i * 3, i + 7, i ? i - 1 : 0, i }' >many.c
	"$1" -w -O3 -g -c many.c -o many.o && "$1" -w -O2 -S many.c -o many.s &&
	    cksum <many.s
}
need_gcc() { have gcc; }
do_gcc() { compile gcc; }
need_clang() { have clang; }
do_clang() { compile clang; }

need_gxx() { have g++; }
do_gxx() {
	cat >work.cpp <<'CPP'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
int main()
{
	std::map<std::string, std::vector<int>> m;
	for (int i = 0; i < 20000; i++)
		m[std::to_string(i * 7919 % 5003)].push_back(i);
	std::regex r("1(2|3)+");
	std::cout << std::count_if(m.begin(), m.end(), [&](const auto &p) {
		return std::regex_search(p.first, r); }) << "\n";
}
CPP
	g++ -std=c++17 -O2 -c work.cpp -o work.o && cksum <work.o
	g++ work.o -o work && ./work
}

need_lua() { have lua5.4; }
do_lua() {
	cat >work.lua <<'LUA'
local t, seed = {}, 1
local function rnd(n) seed = (seed * 1103515245 + 12345) % 2147483648 return seed % n + 1 end
for i = 1, 300000 do
	t[rnd(20000)] = { i, string.rep("ab", rnd(60)), { n = i } }
	if i % 5 == 0 then t[rnd(20000)] = nil end
end
local n, bytes = 0, 0
for _, v in pairs(t) do n = n + 1 bytes = bytes + #v[2] end
print(n, bytes)
local parts = {}
for i = 1, 50000 do parts[#parts + 1] = tostring(i) end
local s = table.concat(parts, ","):gsub("%d", function(d) return d == "7" and "seven" or nil end)
print(#s)
collectgarbage()
LUA
	lua5.4 work.lua
}

# wait_for COMMAND...: until it succeeds, 20 s at most
wait_for() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 200 ] || return 1
		sleep 0.1
	done
}

# With hakmem preloaded a server must have it mapped.
check_preload() {
	[ -z "$LD_PRELOAD" ] || grep -q libhakmem "/proc/$1/maps" ||
	    echo "not preloaded"
}

need_redis() { have redis-server && have redis-cli && have redis-benchmark; }
do_redis() {
	# Newer ones take memory by jemalloc's own names, too.
	preload=$LD_PRELOAD
	[ -z "$preload" ] || ! grep -q 'libjemalloc\.so' "$(command -v redis-server)" ||
	    preload=${preload%.so}-jemalloc.so
	LD_PRELOAD=$preload redis-server --port 0 --unixsocket "$PWD/s" --save '' --dir "$PWD" \
	    --appendonly no --daemonize no >log 2>&1 &
	server=$!
	trap 'kill $server 2>/dev/null' EXIT
	wait_for redis-cli -s s ping || { cat log; return 1; }
	check_preload $server
	redis-cli -s s config set activedefrag no >/dev/null 2>&1
	awk 'BEGIN { for (i = 0; i < 30000; i++) {
		print "SET key" i % 9001 " " sprintf("%0" (i * 7 % 900 + 1) "d", i)
		print "HSET hash" i % 50 " field" i % 3001 " value" i
		print "ZADD z" i % 5 " " i " member" i % 4001
		print "LPUSH list" i % 7 " " i
		if (i % 3 == 0) print "DEL key" (i * 31) % 9001
		if (i % 100 == 0) print "APPEND long " sprintf("%05000d", i)
	} }' >commands
	redis-cli -s s <commands | cksum
	redis-cli -s s eval 'local n = 0 for i = 1, 20000 do n = n + #("m" .. i) redis.call("SADD", "s", "m" .. i) end return n' 0 2>&1 | cut -c 1-20
	redis-benchmark -s s -q -n 40000 -c 20 -d 300 -r 5000 \
	    -t set,get,lpush,lpop,sadd,hset >/dev/null 2>&1 || echo "benchmark failed"
	redis-cli -s s flushall >/dev/null
	redis-cli -s s <commands >/dev/null
	redis-cli -s s zscore z3 member1003
	redis-cli -s s lrange list3 100 110
	redis-cli -s s hgetall hash7 | sort | cksum
	redis-cli -s s dbsize
	redis-cli -s s save
	redis-cli -s s zrange z1 0 5
	redis-cli -s s shutdown nosave
	wait $server
	echo "exit $?"
}

need_memcached() { have memcached && have perl; }
do_memcached() {
	user=
	[ "$(id -u)" -ne 0 ] || user='-u root'
	# shellcheck disable=SC2086
	memcached $user -s "$PWD/s" -t 4 -m 64 >log 2>&1 &
	server=$!
	trap 'kill $server 2>/dev/null' EXIT
	wait_for test -S s || { cat log; return 1; }
	check_preload $server
	cat >load.pl <<'PL'
use strict;
use IO::Socket::UNIX;
sub client {
	my $n = shift;
	my $s = IO::Socket::UNIX->new(Peer => "s") or die;
	my $good = 0;
	for my $i (1 .. 4000) {
		my $v = chr(97 + $i % 26) x ($i * 13 % 2000);
		print $s "set k$n.$i 0 0 ", length $v, "\r\n$v\r\n";
		$good++ if <$s> eq "STORED\r\n";
		next unless $i % 2;
		print $s "get k$n.$i\r\n";
		my $head = <$s>;
		my $got = <$s>;
		$good++ if $got eq "$v\r\n" && <$s> eq "END\r\n";
		if ($i % 5 == 0) { print $s "delete k$n.$i\r\n"; $good++ if <$s> eq "DELETED\r\n"; }
	}
	print "client $n: $good good\n";
}
for my $n (1 .. 4) {
	my $pid = fork;
	if ($pid == 0) { open STDOUT, ">", "out$n"; client($n); exit 0; }
}
1 while wait != -1;
PL
	perl load.pl
	cat out1 out2 out3 out4
	kill $server
	wait $server
	trap - EXIT
}

need_nginx() { PATH=$PATH:/usr/sbin have nginx && have curl; }
do_nginx() {
	PATH=$PATH:/usr/sbin
	mkdir -p html logs t
	seq 20000 >html/large
	echo hello >html/small
	user=
	[ "$(id -u)" -ne 0 ] || user='user root;'
	cat >nginx.conf <<CONF
$user
worker_processes 2;
pid $PWD/pid;
error_log $PWD/logs/error;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path $PWD/t/1; proxy_temp_path $PWD/t/2;
	fastcgi_temp_path $PWD/t/3; uwsgi_temp_path $PWD/t/4; scgi_temp_path $PWD/t/5;
	gzip on; gzip_types *; gzip_min_length 10;
	server { listen unix:$PWD/s; root $PWD/html; location /p/ { proxy_pass http://unix:$PWD/s:/; } }
}
CONF
	nginx -e "$PWD/logs/error" -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off;' >log 2>&1 &
	server=$!
	trap 'kill $server 2>/dev/null' EXIT
	wait_for curl -s --unix-socket s http://x/small || { cat log logs/error; return 1; }
	check_preload $server
	clients=
	for n in 1 2 3 4; do
		for path in small large p/large; do
			curl -s --compressed --unix-socket s \
			    $(seq -f "http://x/$path?%g" 1 60) | cksum
		done >out$n &
		clients="$clients $!"
	done
	# shellcheck disable=SC2086
	wait $clients
	cat out1 out2 out3 out4
	# New workers with all the old ones' state.
	kill -HUP $server
	sleep 0.3
	curl -s --unix-socket s http://x/large | cksum
	kill -QUIT $server
	wait $server
	echo "exit $?"
}

pg_path() {
	for bin in /usr/lib/postgresql/*/bin; do
		PATH=$PATH:$bin
	done
}
need_postgres() {
	(pg_path; have postgres && have initdb && have pgbench && have psql) &&
	    { [ "$(id -u)" -ne 0 ] || have setpriv; }
}
do_postgres() {
	pg_path
	as=
	if [ "$(id -u)" -eq 0 ]; then
		chown 65534:65534 .
		as='setpriv --reuid=65534 --regid=65534 --clear-groups'
	fi
	export HOME="$PWD" LC_ALL=C PGHOST="$PWD" PGUSER=test PGDATABASE=postgres TZ=UTC
	$as initdb -D data -U test -A trust --no-sync -E UTF8 >log 2>&1 ||
	    { cat log; return 1; }
	$as postgres -D data -k "$PWD" -c listen_addresses= -c fsync=off \
	    -c max_parallel_workers_per_gather=2 >server.log 2>&1 &
	server=$!
	trap 'kill -INT $server 2>/dev/null; wait $server' EXIT
	# shellcheck disable=SC2086
	wait_for $as psql -c 'select 1' || { cat server.log; return 1; }
	check_preload $server
	$as pgbench -i -q -s 2 >/dev/null 2>&1 || echo "pgbench -i failed"
	$as pgbench -n -c 8 -j 2 -t 100 >bench 2>&1 || { echo "pgbench failed"; cat bench; }
	$as psql -At <<'SQL'
select count(*) from pgbench_history;
select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history);
create table t as select i, md5(i::text) m, repeat('x', i % 500) r from generate_series(1, 60000) i;
create index on t using btree (m);
analyze t;
select count(*), min(m), sum(length(r)) from t where m like 'a%';
select string_agg(m, ',' order by m) from (select m from t order by m limit 5) x;
select a.i % 10, count(*) from t a join t b on a.m = b.m group by 1 order by 1 limit 4;
select jsonb_agg(to_jsonb(t) order by i)::text = '' from t where i < 3000;
select count(*) from (select regexp_replace(m, '[0-9]+', '-', 'g') x from t) y where x like '%-a%';
SQL
	kill -INT $server
	wait $server
	echo "exit $?"
	trap - EXIT
}

need_node() { have node; }
do_node() {
	cat >work.js <<'JS'
const zlib = require('zlib'), crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
function work(n) {
	const h = crypto.createHash('sha256');
	const m = new Map();
	for (let i = 0; i < 60000; i++) {
		m.set('k' + i % 5000, { i, s: 'x'.repeat(i % 200), b: Buffer.alloc(i % 3000, i % 256) });
		if (i % 3 === 0) m.delete('k' + i * 7 % 5000);
	}
	for (const [k, v] of [...m].sort((a, b) => a[0] < b[0] ? -1 : 1)) { h.update(k + v.s); h.update(v.b); }
	const z = zlib.gzipSync(JSON.stringify([...m.keys()]));
	h.update(zlib.gunzipSync(z));
	return n + ' ' + h.digest('hex');
}
if (isMainThread) {
	console.log(work(0));
	const got = [];
	for (let n = 1; n <= 2; n++)
		new Worker(__filename, { workerData: n }).on('message', s => {
			got.push(s);
			if (got.length === 2) console.log(got.sort().join('\n'));
		});
} else parentPort.postMessage(work(workerData));
JS
	node work.js
}

need_java() { have java && have javac; }
do_java() {
	cat >Work.java <<'JAVA'
import java.util.*;
import java.util.zip.*;
import java.nio.ByteBuffer;
public class Work {
	public static void main(String[] args) throws Exception {
		long[] sums = new long[4];
		Thread[] threads = new Thread[4];
		for (int n = 0; n < 4; n++) {
			final int id = n;
			threads[n] = new Thread(() -> {
				try {
					for (int i = 0; i < 300; i++) {
						ByteBuffer direct = ByteBuffer.allocateDirect(1000 + i * 100);
						direct.putInt(0, i);
						Deflater d = new Deflater();
						byte[] in = new byte[20000], out = new byte[30000];
						Arrays.fill(in, (byte) i);
						d.setInput(in);
						d.finish();
						int len = d.deflate(out);
						d.end();
						Inflater f = new Inflater();
						f.setInput(out, 0, len);
						sums[id] += f.inflate(in) + direct.getInt(0) + in[17];
						f.end();
					}
				} catch (DataFormatException e) {
					sums[id] = -1;
				}
			});
			threads[n].start();
		}
		for (Thread t : threads)
			t.join();
		System.out.println(Arrays.toString(sums));
		TreeMap<String, Integer> m = new TreeMap<>();
		for (int i = 0; i < 200000; i++)
			m.merge("k" + i * 31 % 7001, i, Integer::sum);
		System.out.println(m.firstEntry() + " " + m.size());
	}
}
JAVA
	javac -J-Xmx512m Work.java && java -Xmx256m Work
}

need_ruby() { have ruby; }
do_ruby() {
	cat >work.rb <<'RB'
require 'digest'
require 'json'
srand(5)
h = Hash.new { |x, k| x[k] = [] }
150_000.times { |i| h["k#{rand(9000)}"] << "v" * rand(80); h.delete("k#{rand(9000)}") if i % 4 == 0 }
s = h.sort.map { |k, v| "#{k}:#{v.join}" }.join("\n")
puts Digest::SHA256.hexdigest(s)
puts Digest::SHA256.hexdigest(JSON.parse(JSON.generate(h)).sort.to_s)
puts (1..4).map { |n| Thread.new { (1..20000).map { |i| "x" * (i % 300) }.sum(&:size) * n } }.map(&:value).inspect
GC.start
puts s.gsub(/v+/) { |m| m.size.to_s }.size
RB
	ruby work.rb
}

need_bash() { have bash; }
do_bash() {
	cat >work.bash <<'BASH'
declare -A h
for ((i = 0; i < 30000; i++)); do
	h[k$((i * 7919 % 3001))]+=$i,
	((i % 3)) || unset "h[k$((i % 3001))]"
done
n=0
for k in "${!h[@]}"; do n=$((n + ${#h[$k]})); done
echo "${#h[@]} $n"
a=($(seq 20000))
echo "${#a[@]} ${a[*]: -3}"
s=$(printf '%s ' "${a[@]}")
s=${s//7/seven}
echo ${#s}
f() { local x=$1; ((x > 0)) && f $((x - 1)); local y=$(echo "$x"); total=$((total + y)); }
total=0
f 100
echo "$total"
for i in {1..50}; do (echo "$i" | cat | wc -c); done | sort | uniq -c
BASH
	bash work.bash
}

need_stress_ng() { have stress-ng; }
do_stress_ng() {
	for stressor in '--malloc 2 --malloc-bytes 8m --malloc-max 2000 --malloc-touch' \
	    '--malloc 1 --malloc-pthreads 4 --malloc-bytes 64k --malloc-max 5000' \
	    '--bigheap 1 --bigheap-growth 64k --bigheap-ops 4000' \
	    '--fork 2 --fork-ops 500' '--mmapfork 1 --mmapfork-ops 20'; do
		# shellcheck disable=SC2086
		timeout 180 stress-ng $stressor --timeout 3s --temp-path "$PWD" --verify \
		    >log 2>&1
		echo "${stressor%% *} $?"
		grep -i 'fail:' log || :
	done
}

# ---- The runner.

if [ "$1" = --one ]; then
	srctest=$3
	have() { command -v "$1" >/dev/null 2>&1; }
	if [ -n "$LD_PRELOAD" ] && ! grep -q libhakmem /proc/self/maps; then
		echo "not preloaded"
		exit 1
	fi
	"do_$2"
	exit $?
fi

# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "programs: this build does not override malloc"
chmod 755 "$tmp"
self=$(cd "${0%/*}" && pwd)/${0##*/}
srctest=$(cd "$srctest" && pwd)
# Another user must be able to read it, too.
for library in "$HAKMEM_LIB" "${HAKMEM_LIB%.so}-jemalloc.so"; do
	cp "$library" "$tmp/${library##*/}" && chmod 755 "$tmp/${library##*/}" || exit 1
done
LIMIT=${PROGRAM_SECONDS:-150}

# one NAME HOW PRELOAD
one() {
	mkdir "$tmp/$1.$2"
	(
		cd "$tmp/$1.$2" || exit 1
		[ -z "$3" ] || export LD_PRELOAD="$3"
		exec timeout -k 5 "$LIMIT" sh "$self" --one "$1" "$srctest"
	) >"$tmp/$1.$2.out" 2>"$tmp/$1.$2.err" </dev/null
	echo "status $?" >>"$tmp/$1.$2.out"
}

passed=0 skipped=0
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $programs
for name; do
	if ! "need_$name"; then
		echo "skip: $name"
		skipped=$((skipped + 1))
		continue
	fi
	one "$name" without ''
	one "$name" with "$tmp/libhakmem.so"
	# The folder is the same but for its name.
	sed -i "s|$tmp/$name\.with[a-z]*|DIR|g" "$tmp/$name".with*.out
	if ! grep -q '^status 0$' "$tmp/$name.without.out"; then
		fail "$name: not even without hakmem"
	elif ! cmp -s "$tmp/$name.without.out" "$tmp/$name.with.out"; then
		fail "$name: other output"
	elif grep -q '^hakmem:' "$tmp/$name.with.err"; then
		fail "$name: a message"
	else
		echo "ok: $name"
		passed=$((passed + 1))
		rm -rf "$tmp/$name".*
		continue
	fi
	diff "$tmp/$name.without.out" "$tmp/$name.with.out" | head -n 20 | sed 's/^/    /'
	tail -n 10 "$tmp/$name.with.err" | sed 's/^/    /'
	rm -rf "$tmp/$name.without" "$tmp/$name.with"
done
echo "programs: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
