#!/bin/sh
# The model test under every combination of the layers and under the other
# options, with one thread and with several; and the proof that it can fail.
# MODEL_OPS: calls of each thread (default 30000).
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"

program stress/model
model=$prog
ops=${MODEL_OPS:-30000}

# run CONF ARGS...: the model test must pass and print nothing else
run() {
	conf=$1
	shift
	HAKMEM_CONF=$conf timeout 300 "$model" -n "$ops" "$@" \
	    >"$tmp/out" 2>&1
	status=$?
	if [ $status -ne 0 ] || grep -q '^hakmem:' "$tmp/out"; then
		fail "HAKMEM_CONF=$conf model -n $ops $* (status $status)"
		sed 's/^/    /' "$tmp/out"
	fi
}

both() {
	run "$1"
	run "$1" -t 4 -f 30
}

for tiny in true false; do
	for l2 in true false; do
		for l25 in true false; do
			for whale in true false; do
				both "tls_tiny:$tiny,tls_l2:$l2,tls_l25:$l25,whale:$whale"
			done
		done
	done
done
for conf in junk:true thp:always thp:never narenas:1 narenas:4 \
    background_thread:false dirty_decay_ms:0,muzzy_decay_ms:0 \
    dirty_decay_ms:-1 dirty_decay_ms:50,muzzy_decay_ms:50; do
	both "$conf"
done
run zero:true -z
run zero:true -z -t 4 -f 30
run zero:true,junk:true -z -t 2
run zero:true,tls_tiny:false,tls_l2:false,tls_l25:false,whale:false -z
run narenas:4 -t 16 -f 90

# Each damage must be noticed, and by the check that is there for it.
broken() {
	if timeout 300 "$model" -n 20000 --break="$1" >"$tmp/out" 2>&1; then
		fail "model --break=$1 passed"
	elif ! grep -q "^model: FAILED: .*$2" "$tmp/out"; then
		fail "model --break=$1 did not say '$2'"
		sed 's/^/    /' "$tmp/out"
	fi
}
broken overlap 'overlaps a live object'
broken dirty 'is not zero'
broken align 'not aligned'
broken short 'usable size'
broken content 'content changed'

[ $failed -eq 0 ] || exit 1
echo "stress/run.sh: ok"
