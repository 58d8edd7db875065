#!/bin/sh
# Stands for the program where a test packs one: it has one manual page, and completions.
case $1 in
    man) echo ".TH plexus 1" >"$3/plexus.1" ;;
    completion) echo "# for $2" ;;
esac
