#!/bin/sh
# Installs what a build needs besides Rust, where it is missing: a C compiler, cmake (zlib and AWS-LC are built from
# source), make. Debian and its kin; elsewhere it names what to install.
set -eu

missing=""
for tool in cc cmake make; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
command -v cargo >/dev/null 2>&1 || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "please install:$missing" >&2
  exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends build-essential cmake
