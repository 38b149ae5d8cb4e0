# Reads `objdump -d -C` of the engine. Path `isa` must have `tiles` tiles at least. Each has one multiply-add (`fma`, a pattern)
# for each vector that it holds and keeps all in registers (`spill` must not occur). Nothing outside the paths `also_wide` may
# have `wide` registers: it runs on processors without.
/^[0-9a-f]+ <.*>:$/ {
  judge()
  name = $0
  tile = name ~ ("simd::" isa "::Tile<")
  plain = wide && name !~ ("simd::(" also_wide ")::")
  found = 0; spilled = 0
  next
}
tile && $0 ~ fma { ++found }
tile && $0 ~ spill { ++spilled }
plain && $0 ~ wide { print "FAILED: " $0 " in " name; bad = 1; plain = 0 }
END {
  judge()
  if (seen < tiles) { print "FAILED: " seen + 0 " tiles of " isa ", expected " tiles; bad = 1 }
  if (!bad) print isa ": " seen " tiles, " all " multiply-adds in their loops, all in registers"
  exit bad
}

function judge(   vectors, rows, list) {
  if (!tile) return
  vectors = list = name
  sub(/.*::Tile<\(?(int\))?/, "", vectors)
  sub(/,.*/, "", vectors)
  sub(/.*integer_sequence<long/, "", list)
  sub(/>.*/, "", list)
  rows = gsub(/,/, ",", list)
  ++seen; all += found
  if (found < vectors * rows || spilled) {
    print "FAILED: " found " multiply-adds for " rows " x " vectors " vectors, " spilled " spilled, in " name
    bad = 1
  }
}
