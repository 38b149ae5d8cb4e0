#!/bin/sh
# docs/ops.md is what docs/make_ops.sh makes of the docstrings now, and every op says its shapes, gradient and cost.
. "$(dirname "$0")/../support/check.sh"

sh "$root/docs/make_ops.sh" --check || fail "docstrings of ops lack a line"
sh "$root/docs/make_ops.sh" > "$scratch/ops.md"
diff -u "$root/docs/ops.md" "$scratch/ops.md" || fail "docs/ops.md is old. Hint: docs/make_ops.sh > docs/ops.md"
echo "$(grep -c '^## ' "$scratch/ops.md") ops"
