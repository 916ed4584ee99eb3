#!/bin/sh
# Make configure and the Makefile templates; needed in a git checkout only.
set -e
cd "$(dirname "$0")"
exec autoreconf --install --force --warnings=all
