#!/bin/sh
# README.md's results on phantoms: a Dice of 0.80 or more, in less than 20 minutes of two processors.
#   sh examples/systems/spine/reproduce.sh [BIN = build/release/bin] [OUT = build/systems/spine] [THREADS = 2]
exec sh "$(dirname "$0")/../common/reproduce.sh" spine 0.80 "$@"
