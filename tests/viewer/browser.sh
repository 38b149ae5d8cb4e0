#!/bin/sh
# The viewer's page in headless Chromium, on a phantom and a model of 30 training steps (browser.py). What needs no browser
# comes first: the page is small and loads nothing from elsewhere.
. "$(dirname "$0")/../support/check.sh"
page=$root/examples/viewer/page
size=$(cat "$page"/* | wc -c)
[ "$size" -le 102400 ] || fail "the page has $size bytes; must be at most 102400. Hint: no build step will shorten it"
! grep -nE '(https?:)?//[a-z0-9.-]+\.[a-z]{2,}|\beval\(|innerHTML' "$page"/* ||
  fail "the page names another host, or makes code or HTML from text"

ctseg=$CTSEG_BINARY_DIR/bin/ctseg
command -v python3 > /dev/null || skip "python3 is not installed"
(cd "$root/tests/viewer" && python3 -Bc 'import chromium, sys; sys.exit(not chromium.find())') ||
  skip "chromium is not installed"
"$ctseg" view --help > /dev/null 2>&1 || skip "this ctseg has no view"

cd "$scratch"
cat > config.json <<'END_CONFIG'
{"recipe": {"ctseg_recipe": 1, "about": {"name": "tiny"},
  "network": {"network": "UNet", "dim": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4]},
  "preprocess": [{"step": "Reorient", "codes": "RAS"}, {"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}},
                 {"step": "WindowHu", "low": -160, "high": 240}],
  "sliding_window": {"window": [16, 16, 16], "overlap": 0.25},
  "labels": [{"id": 0, "name": "background"}, {"id": 1, "name": "liver"}]},
 "data": {"folder": "data", "validation": 0.34}, "training": {"steps": 30, "batch": 2, "learning_rate": 0.01}}
END_CONFIG
"$ctseg" phantom abdomen -o data --count 3 --mask liver --shape 80,64,40 --quiet > /dev/null
"$ctseg" train config.json -o run --threads 2 --quiet > /dev/null

mkdir store downloads
: > address
"$ctseg" view data/ct_scans/phantom_0.nii.gz --mask data/masks/phantom_0.nii.gz -m run/model.safetensors --store store \
  > address 2> log &
server=$!
trap 'kill $server 2> /dev/null || :; rm -rf "$scratch"' EXIT
waited=0
until grep -q '^http' address; do
  waited=$((waited + 1))
  if [ "$waited" -gt 300 ] || ! kill -0 $server 2> /dev/null; then
    ! grep -q 'built without' log || skip "$(cat log)"
    cat log
    fail "ctseg view printed no address"
  fi
  sleep 0.1
done
python3 -B "$root/tests/viewer/browser.py" "$(grep -m1 '^http' address)" data/ct_scans/phantom_1.nii.gz downloads \
  ${CTSEG_SCREENSHOTS:-} || { cat log; fail "see above"; }
