#!/bin/sh
# usage: sleeper.sh FILE. Appends "pid time_ns" to FILE, then sleeps.
echo "$$ $(date +%s%N)" >> "$1"
exec sleep 1000000
