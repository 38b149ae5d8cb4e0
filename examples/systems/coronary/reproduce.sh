#!/bin/sh
# README.md's results on phantoms: a Dice of 0.75 or more, in less than 20 minutes of two processors.
#   sh examples/systems/coronary/reproduce.sh [BIN = build/release/bin] [OUT = build/systems/coronary] [THREADS = 2]
exec sh "$(dirname "$0")/../common/reproduce.sh" coronary 0.75 "$@"
