# Which headers can share a translation unit and still be compiled alone: prints one chain a line, each header of which
# includes, itself or through others, the one before it, so that nothing stands before its text that it does not include. All
# headers are read, those named in LIST are put into chains. Counted are includes above the first line of code, outside of #if.
# Before each chain stands the largest header of BASES that its first one includes or is, or -.
function normal(path,    part, n, i, kept, out) {
  n = split(path, part, "/")
  for (i = 1; i <= n; ++i)
    if (part[i] == "..") --kept
    else if (part[i] != ".") stack[++kept] = part[i]
  for (i = 1; i <= kept; ++i) out = out (i > 1 ? "/" : "") stack[i]
  return out
}
function close_over(h,    list, n, i, other) {   # reach[h, x]: h includes x; size[h]: how many
  if (h in size) return
  size[h] = 0
  n = split(direct[h], list, " ")
  for (i = 1; i <= n; ++i) {
    close_over(list[i])
    add(h, list[i])
    split(all[list[i]], seen_of, " ")
    for (other in seen_of) add(h, seen_of[other])
  }
}
function add(h, x) {
  if ((h, x) in reach) return
  reach[h, x] = 1
  ++size[h]
  all[h] = all[h] " " x
}
FNR == 1 { depth = code = 0; folder = FILENAME; sub(/[^\/]*$/, "", folder) }
/^#if/ { ++depth }
/^#endif/ { --depth }
/^#include "/ && !depth && !code { split($0, quoted, "\""); direct[FILENAME] = direct[FILENAME] " " normal(folder quoted[2]) }
!/^#/ && !/^\/\// && !/^ *$/ { code = 1 }
END {
  while ((getline h < LIST) > 0) { wanted[++count] = h; close_over(h); if (size[h] > most) most = size[h] }
  for (s = 0; s <= most; ++s)
    for (i = 1; i <= count; ++i) {
      h = wanted[i]
      if (size[h] != s) continue
      best = 0
      for (c = 1; c <= chains; ++c)
        if ((h, top[c]) in reach && (!best || size[top[c]] > size[top[best]])) best = c
      if (!best) best = ++chains
      top[best] = h
      chain[best] = chain[best] (chain[best] == "" ? "" : " ") h
    }
  bases = split(BASES, base, " ")
  for (c = chains; c >= 1; --c) {   # the largest are in the first ones found: they take longest
    split(chain[c], list, " ")
    best = "-"
    for (b = 1; b <= bases; ++b)
      if ((list[1] == base[b] || (list[1], base[b]) in reach) && (best == "-" || size[base[b]] > size[best])) best = base[b]
    print best, chain[c]
  }
}
