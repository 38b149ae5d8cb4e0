#!/bin/sh
# README.md's results on phantoms: a Dice of 0.95 or more, in less than 20 minutes of two processors.
#   sh examples/systems/liver/reproduce.sh [BIN = build/release/bin] [OUT = build/systems/liver] [THREADS = 2]
exec sh "$(dirname "$0")/../common/reproduce.sh" liver 0.95 "$@"
