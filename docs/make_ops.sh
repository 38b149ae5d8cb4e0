#!/bin/sh
# Writes docs/ops.md from the docstrings of the ops, so that the reference stands beside the code and nowhere else.
#   docs/make_ops.sh > docs/ops.md       after a change of a docstring (a test compares)
#   docs/make_ops.sh --check             names the ops that lack a line which every op must have
set -eu
CDPATH='' cd "$(dirname "$0")/.."
export LC_ALL=C

headers=$(ls include/ctseg/ops/*.hpp)

if [ "${1:-}" != --check ]; then
  cat <<'END'
# Ops

Made by `docs/make_ops.sh` from the docstrings in `include/ctseg/ops`: change them there.

Every op takes and makes values of logical order N, C, (D,) H, W, channels-last in memory; in 2-D read the formulas without D.
`T` is how activations are stored (`Spec::T`), `Acc` what sums, parameters and losses are: float, or double for double. N images,
C channels, k kernel, s stride, p padding. *Assigned* means that backward overwrites the gradient, *added* that it adds to what is
there. *Keeps* is what training holds in memory until backward; inference keeps nothing. `F` is `torch.nn.functional`, `nn` is
`torch.nn`; the 2-D calls have the same arguments. Every op gives the same bits for any number of threads. What the ops of a
network at hand need in memory: `Plan::summary()`.
END
fi

# First the functions and layers that record ops, then the ops.
awk -v check="${1:-}" '
  function escaped(s) {   # what Markdown would take for its own; a * between blanks is none
    if (s ~ /[^ ]\*|\*[^ ]/) gsub(/\*/, "\\*", s)
    gsub(/<[A-Za-z]/, "\\\\&", s)
    return s
  }
  function flush_field() {
    if (field != "") print "- **" field "** " escaped(body)
    else if (body != "") print escaped(body) "\n"
    field = body = ""
  }
  function add(line) { body = body (body == "" ? "" : " ") line }

  # nn/: which function or layer records which op.
  FILENAME ~ /\/nn\// {
    if (/^\/\/\/ .*see [A-Za-z]*Op/) { match($0, /see [A-Za-z]*Op/); seen = substr($0, RSTART + 4, RLENGTH - 4) }
    else if (/class [A-Z]/ && seen != "") {
      sub(/.*class /, ""); sub(/[ {].*/, "")
      calls[seen] = calls[seen] "; layer `" $0 "`"
      seen = ""
    }
    else if (!/^\/\/\//) seen = ""
    if (/^template <AnySpec S> Var<S> [a-z_]*\(/) {
      call = $0
      sub(/^template <AnySpec S> Var<S> /, "", call)
      sub(/\) \{( .*)?$/, ")", call)
    }
    op = ""
    if (match($0, /append\([A-Za-z]*Op<S>/)) op = substr($0, RSTART + 7, RLENGTH - 10)
    else if (/append\([a-z]/ && match(call, /[A-Za-z]*Op<S>/)) op = substr(call, RSTART, RLENGTH - 3)
    if (op != "" && call != "") { calls[op] = calls[op] "; `" call "`"; call = "" }
    next
  }

  FNR == 1 { file = FILENAME; sub(/.*\/ops\//, "", file); lines = 0; types = "" }
  /^\/\/\/ ?/ { line = $0; sub(/^\/\/\/ ?/, "", line); doc[++lines] = line; next }

  # Types that options are made of: shown with the first op behind them.
  /^enum class [A-Z].*;$/ || /^struct ([A-Za-z]*Options|Activation) \{/ {
    for (i = 1; i <= lines; ++i) types = types "// " doc[i] "\n"
    types = types $0 "\n"
    inside = !/;$/
    lines = 0
    next
  }
  inside { types = types $0 "\n"; if (/^\};/) inside = 0; next }

  /^template <AnySpec S> struct [A-Za-z]*Op \{/ {
    op = $0; sub(/.*struct /, "", op); sub(/ .*/, "", op)
    names[++count] = op; home[op] = file; shown[op] = types; types = ""
    length_of[op] = lines
    for (i = 1; i <= lines; ++i) text[op, i] = doc[i]
    lines = 0
    options = op
    next
  }
  options != "" {
    if ($0 != "" && !/name\(\) const/) { shown[options] = shown[options] substr($0, 3) "\n"; next }
    options = ""
  }
  { lines = 0 }

  END {
    if (check != "") {
      for (k = 1; k <= count; ++k) {
        op = names[k]
        all = "\n"
        for (i = 1; i <= length_of[op]; ++i) all = all text[op, i] "\n"
        for (i = split("Shapes Gradient Cost", wanted, " "); i >= 1; --i)
          if (all !~ "\n" wanted[i] "   *[^ \n]") {
            print "ops/" home[op] ": the docstring of " op " has no line that begins with " wanted[i]
            bad = 1
          }
      }
      if (count == 0) { print "no ops found"; bad = 1 }
      exit bad
    }
    print ""
    for (k = 1; k <= count; ++k) {
      anchor = tolower(names[k])
      print "- [" names[k] "](#" anchor ") in [" home[names[k]] "](../include/ctseg/ops/" home[names[k]] ")"
    }
    for (k = 1; k <= count; ++k) {
      op = names[k]
      print "\n## " op "\n"
      for (i = 1; i <= length_of[op]; ++i) {
        line = text[op, i]
        if (match(line, /^[A-Z][A-Za-z]*   */)) {
          flush_field()
          field = line; sub(/ .*/, "", field)
          line = substr(line, RLENGTH + 1)
        }
        sub(/^ */, "", line)
        add(line)
      }
      flush_field()
      print ""
      if (op in calls) print "Recorded by " substr(calls[op], 3) " in [nn](../include/ctseg/nn).\n"
      link = "in [ops/" home[op] "](../include/ctseg/ops/" home[op] ")"
      if (shown[op] != "") print "Options, " link ":\n\n```cpp\n" shown[op] "```"
      else print "No options; " link "."
    }
  }
' include/ctseg/nn/functional.hpp include/ctseg/nn/layers.hpp $headers
