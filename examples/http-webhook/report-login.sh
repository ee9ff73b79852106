#!/bin/sh
# Reports one sign-in to the gateway of entra-group-sync.
#
#   GROUP_SYNC_URL=https://groups.example.com GROUP_SYNC_API_KEY=... sh report-login.sh < event.json
#
# The event is one JSON object on standard input; README.md beside this file says what is in it and how to make it.
# Needs a POSIX shell and curl. No secret is ever an argument of a program, where `ps` would show it to everybody on the
# machine, or in a file: the event and the key go to curl through pipes.
#
#   GROUP_SYNC_URL       where the gateway is; https, or http on this machine
#   GROUP_SYNC_API_KEY   one of the gateway's API_KEYS
#   GROUP_SYNC_TRIES     how often it tries while the gateway can't store the event; default 4
#
# Exit codes, as in sysexits.h. Whatever it is, the person is signed in: never make a sign-in depend on it.
#   0   stored; the gateway's answer is on standard output
#   64  a setting is missing or wrong; nothing was sent
#   65  the gateway refuses the event (400, 413, 415); what is wrong stands on standard error
#   69  not stored; all tries are used up. Send the same event again later
#   76  an answer that no gateway gives: GROUP_SYNC_URL leads to something else
#   77  the gateway doesn't know the key (401)
set -u
set +x # A trace would show both secrets.

fail() {
  code=$1
  shift
  printf 'report-login: %s\n' "$*" >&2
  exit "$code"
}

# A carriage return or quote in the key would be read by curl as a setting of its own.
case ${GROUP_SYNC_API_KEY:-} in
  '') fail 64 'GROUP_SYNC_API_KEY is not set' ;;
  *[!A-Za-z0-9._~+/=-]*) fail 64 'GROUP_SYNC_API_KEY has a character that no bearer key has (RFC 6750)' ;;
esac
case ${GROUP_SYNC_URL:-} in
  '') fail 64 'GROUP_SYNC_URL is not set' ;;
  *@*) fail 64 'GROUP_SYNC_URL must have no user name' ;;
  https://* | http://localhost | http://localhost[:/]* | http://127.0.0.1 | http://127.0.0.1[:/]*) ;;
  *) fail 64 'GROUP_SYNC_URL must be https, or http to this machine: the tokens of people go there' ;;
esac
tries=${GROUP_SYNC_TRIES:-4}
case $tries in
  '' | 0* | *[!0-9]*) fail 64 'GROUP_SYNC_TRIES must be a whole number from 1 on' ;;
esac

event=$(cat)
[ -n "$event" ] || fail 64 'no event on standard input'

# Prints the answer with its headers, and nothing if there is none. curl reads the key on descriptor 3 and the event on 0;
# printf is part of the shell, so that neither is an argument. `-q` keeps a .curlrc from adding to it. 40 seconds are enough
# for the longest waitUpToMs.
post() {
  printf '%s' "$event" | {
    printf 'header = "Authorization: Bearer %s"\n' "$GROUP_SYNC_API_KEY" |
      curl -q --config /dev/fd/3 --silent --show-error --proto '=http,https' --globoff \
        --connect-timeout 3 --max-time 40 --include --suppress-connect-headers \
        --header 'Content-Type: application/json' --header 'Expect:' --data-binary @- \
        "${GROUP_SYNC_URL%/}/v1/login-events" 3<&0 <&4
  } 4<&0
}

newline='
'
while :; do
  answer=$(post | tr -d '\r')
  head=${answer%%"$newline$newline"*}
  body=${answer#*"$newline$newline"}
  status=$(printf '%s\n' "$head" | sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p')
  case $status in
    200 | 202)
      printf '%s\n' "$body"
      exit 0
      ;;
    400 | 413 | 415) fail 65 "refused with $status: $body" ;;
    401) fail 77 'the gateway does not know GROUP_SYNC_API_KEY' ;;
    # A proxy answers 502 or 504 while the gateway behind it restarts.
    '' | 429 | 500 | 502 | 503 | 504) ;;
    *) fail 76 "unexpected answer $status" ;;
  esac
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || fail 69 "not stored (${status:-no answer}), send it again later"
  pause=$(printf '%s\n' "$head" | sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,3\}\)$/\1/p')
  sleep "${pause:-3}"
done
