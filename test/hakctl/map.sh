#!/bin/sh
# hakctl map: text, colours, the picture, JSON, and what it says where there is none.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"
escape=$(printf '\033')

subject free

# ---- Text
is 0 map "$pid"
says "^subject \($pid\): [0-9]+ chunks of 2\.00 MiB, .* a cell is 16\.0 KiB$"
says '^ +[0-9a-f]+ [TtMmBb#~.]{64}$'
says '^ +16 KiB  l2 +[0-9]+ '
says '^  # dirty [0-9]'
! grep -q "$escape" "$tmp/said" || fail "map: colours where there is no terminal"
awk 'length > 80 { exit 1 }' "$tmp/said" || fail "map: lines over 80 columns"
is 0 map subject
is 0 map "$pid" --colour always
grep -q "$escape\[48;5;" "$tmp/said" || fail "map --colour always: no colours"
COLORTERM=truecolor is 0 map "$pid" --color=always
grep -q "$escape\[48;2;" "$tmp/said" || fail "map: not the colours that there are"

# ---- JSON: what there is adds up
is 0 map "$pid" --json
json '.pid == '"$pid"' and .command == "subject" and .granule == 16384 and
    .chunk == 2097152'
# shellcheck disable=SC2016
json '. as $m | all(.chunks[]; ([.runs[].bytes] | add) == $m.chunk)'
json '.totals.bytes == (.chunks | length) * .chunk'
json '(.totals | .slab.bytes + .clean.bytes + .dirty.bytes + .muzzy.bytes) ==
    .totals.bytes'
json '[.chunks[].runs[] | select(.kind == "slab") | .used] | all(. >= 0 and . <= 1)'
json '[.chunks[].base] | . == sort and . == unique'
# 1 object in 100 of 16 KiB slabs is left: they are there, and nearly empty
json '[.chunks[].runs[] | select(.kind == "slab" and .size == 16384)] | length > 0'

# ---- The picture
file=$tmp/map.svg
is 0 map "$pid" -o "$file"
[ ! -s "$tmp/said" ] || fail "map -o: prints"
if have xmllint; then
	xmllint --noout "$file" || fail "map: the picture is no XML"
elif have python3; then
	python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$file" ||
	    fail "map: the picture is no XML"
fi
grep -q '<title>Heap of subject' "$file" || fail "map: the picture has no title"
grep -q 'of 16 KiB objects (l2), [0-9]* % in use</title>' "$file" ||
	fail "map: the picture has no tooltips"
grep -q 'size classes by hue' "$file" || fail "map: the picture has no legend"
grep -q '>slabs: [0-9]' "$file" || fail "map: the picture has no totals"
tail -n 1 "$file" | grep -q '^</svg>$' || fail "map: the picture has no end"
is 0 map "$pid" -o -
says '^<svg '

# ---- Files: whole, with the usual rights, through links; nothing else is left
[ "$(stat -c %a "$file")" = "$(printf %o $((0666 & ~0$(umask))))" ] ||
	fail "map -o: rights are $(stat -c %a "$file")"
ln -s map.svg "$tmp/link.svg"
is 0 map "$pid" -o "$tmp/link.svg"
[ -L "$tmp/link.svg" ] || fail "map -o: replaced a link"
is 0 map "$pid" -o /dev/null
[ -c /dev/null ] || fail "map -o: replaced /dev/null"
is 1 map "$pid" -o "$tmp/none/map.svg"
complains '^hakctl: cannot write .*/none/map.svg: No such file or directory$'
if [ -c /dev/full ]; then
	is 1 map "$pid" -o /dev/full
	complains '^hakctl: cannot write /dev/full: No space left on device$'
fi
[ -z "$(find "$tmp" -name '.map.svg*')" ] || fail "map -o: leaves files"

# ---- No process, no answer, no sense
for command in '' "$pid $pid" "$pid --nonsense" "$pid -o" "$pid --colour maybe"; do
	# shellcheck disable=SC2086
	is 2 map $command
done
is 0 map --help
says '^Usage: hakctl map'
is 1 map 99999999
complains 'no such process'
kill -STOP "$pid"
is 1 map "$pid"
complains "^hakctl: $pid: is stopped$"
kill -CONT "$pid"
is 0 map "$pid"
kill -KILL "$pid"
wait_for "the end of $pid" sh -c "! kill -0 $pid"
wait "$pid" 2>/dev/null
is 1 map "$pid"
complains "^hakctl: $pid: no such process$"

done_with
