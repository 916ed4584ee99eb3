#!/bin/sh
# An include in src/ never goes up.
src=${0%/*}/../src
seen=0 bad=0
rank() {
	case $1 in
	base) echo 0 ;; page) echo 1 ;; arena) echo 2 ;;
	tcache) echo 3 ;; ctl) echo 4 ;; entry) echo 5 ;; hakctl) echo 6 ;;
	hakmem) echo 0 ;;
	*) echo "layers: $1: a folder without a place" >&2; echo 9 ;;
	esac
}
for file in "$src"/*/*.[ch]; do
	folder=$(basename "$(dirname "$file")")
	from=$(rank "$folder")
	for include in $(sed -n 's|^#include "\([^"]*\)/[^"]*".*|\1|p' "$file"); do
		seen=$((seen + 1))
		# The tool is a program of its own, and but for what reads a process's memory
		# knows nothing of how the library keeps its own.
		case $folder/$include:${file##*/} in
		hakctl/hakctl:* | hakctl/ctl:* | hakctl/base:* | hakctl/hakmem:* | *:memory.c) ;;
		hakctl/*)
			echo "layers: $file includes $include/, of the library"
			bad=$((bad + 1))
			;;
		esac
		if [ "$(rank "$include")" -gt "$from" ]; then
			echo "layers: $file includes $include/, a layer above"
			bad=$((bad + 1))
		fi
	done
done
if [ $seen -lt 20 ]; then
	echo "layers: only $seen includes found: is this the right folder?"
	exit 1
fi
[ $bad -eq 0 ]
