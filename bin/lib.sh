# shellcheck shell=sh
# Sourced by check and demo: the packages that they need.

# need PACKAGE...: install those Debian packages that are missing.
need() {
	missing=
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
		    grep -q 'ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	if ! command -v apt-get >/dev/null; then
		echo "these Debian packages are missing:$missing" >&2
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "missing packages; as root run: apt-get install$missing" >&2
		exit 1
	fi
	echo "installing$missing"
	# Names are a list of words.
	# shellcheck disable=SC2086
	{
		apt-get update &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y \
		    --no-install-recommends $missing
	} >apt.log 2>&1 || { tail -20 apt.log >&2; exit 1; }
	rm -f apt.log
}

build_packages='autoconf automake libtool pkg-config gcc g++ make libc6-dev
libatomic-ops-dev check valgrind libjansson-dev libncurses-dev
libmicrohttpd-dev'
