#!/bin/sh
# radish @VERSION@ for @TARGET@: a program in one file. This script ends at the line "exit"; the rest of the file is a
# compressed archive with Deno, radish's sources and its embedded model. The first start unpacks it into
# ${XDG_CACHE_HOME:-~/.cache}/radish/@ID@; that folder can be removed at any time.
set -u
self=$0 # in some shells $0 is a function's name inside of it

# Starts the unpacked program in folder $1; does not return.
start() {
  DENO_DIR=$1/deno_dir DENO_NO_UPDATE_CHECK=1
  export DENO_DIR DENO_NO_UPDATE_CHECK
  @MALLOC@
  export @NAMES@
  program=$1
  shift
  if [ "${RADISH_ALLOW_ALL:-0}" = 1 ]; then
    set -- --allow-all "$program/app/main.ts" "$@"
  else
    set -- @PERMISSIONS@ \
      "$program/app/main.ts" "$@"
  fi
  exec "$program/deno" run @FLAGS@ --quiet --cached-only --no-lock --config "$program/app/deno.json" "$@"
}

# Unpacks into folder $1, so that it is there completely or not at all. Of two that do it at the same time one
# wins, and the other removes what it has: a rename fails on a folder that exists, or moves into it.
unpack() {
  mkdir -p "${1%/*}" 2>/dev/null && new=$(mktemp -d "${1%/*}/.new-XXXXXX" 2>/dev/null) || return 1
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if ! tail -n +@LINE@ "$self" | tar -xzof - -C "$new" || [ ! -f "$new/complete" ]; then
    echo "radish: cannot unpack into ${1%/*}: the disk is full, or this file is damaged" >&2
    exit 1
  fi
  mv "$new" "$1" 2>/dev/null
  rm -rf "$new" "${1:?}/${new##*/}"
  trap - EXIT INT TERM HUP
}

cache=
case ${XDG_CACHE_HOME:-} in
  /*) cache=$XDG_CACHE_HOME/radish/@ID@ ;;
  *) [ -d "${HOME:-}" ] && cache=$HOME/.cache/radish/@ID@ ;;
esac
if [ -n "$cache" ]; then
  [ -f "$cache/complete" ] || unpack "$cache"
  [ -f "$cache/complete" ] && start "$cache" "$@"
fi

# No home to write to: a private folder among the temporary files.
private=${TMPDIR:-/tmp}/radish-$(id -u)
mkdir -m 700 "$private" 2>/dev/null
if [ -h "$private" ] || [ ! -O "$private" ] ||
  { [ ! -f "$private/@ID@/complete" ] && ! unpack "$private/@ID@"; }; then
  echo "radish: nowhere to unpack; set XDG_CACHE_HOME to a folder that can be written" >&2
  exit 1
fi
start "$private/@ID@" "$@"
exit
