#!/usr/bin/env python3
"""The table of a run of first_run.sh: ctseg beside the best arm of PyTorch and beside its eager one. usage: table.py FOLDER...

Parts that ran in several calls may lie in several folders."""
import json
import sys
from pathlib import Path


def rows(name):
    found = []
    for folder in sys.argv[1:]:
        path = Path(folder) / name
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:   # cut off where the program was stopped
                print(f"{path}: left out: {line[:60]}", file=sys.stderr)
    return found


def main():
    first, again, torch = rows("networks.jsonl"), rows("networks_again.jsonl"), rows("torch.jsonl")
    later = {(r["kind"], r["name"], r["type"]): r["ms"] for r in again if "ms" in r}
    print("| work | network | type | ctseg, ms | again | best PyTorch, ms | which | eager contiguous, ms | best / ctseg | eager / ctseg |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in first:
        if r.get("kind") not in ("forward", "step"):
            continue
        key = (r["kind"], r["name"], r["type"])
        arms = [t for t in torch if (t["kind"], t["name"], t.get("type")) == key]
        best = min(arms, key=lambda t: t["ms"], default=None)
        eager = next((t for t in arms if t["layout"] == "contiguous" and t["way"] == "eager"), None)
        show = lambda t: f"{t['ms']:.3f}" if t else "-"
        ratio = lambda t: f"{t['ms'] / r['ms']:.2f}" if t else "-"
        which = f"{best['layout']}, {best['way']}" if best else "-"
        print(f"| {' | '.join(key)} | {r['ms']:.3f} | {later.get(key, float('nan')):.3f} | {show(best)} | {which} | {show(eager)} | {ratio(best)} | {ratio(eager)} |")


if __name__ == "__main__":
    main()
