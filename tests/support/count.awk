# Reads CTest's JUnit report, prints what failed and, last, "N passed, N failed[, N skipped]".
# A doctest program counts by its cases, any other test as one; a program that died counts as one failure at least.
/<testcase / {
  name = attribute("name"); status = attribute("status")
  summary = 0; passed = failed = skipped = 0
}
/\[doctest\] test cases: / {
  summary = 1
  passed = number_before("passed"); failed = number_before("failed"); skipped = number_before("skipped")
}
/<\/testcase>/ {
  if (skip_message && status == "notrun") skipped = 1   # exit status 77
  else if (name ~ /^ctseg_test_/) {
    if ((status != "run" || !summary) && failed == 0) failed = 1
    if (filtered) skipped = 0   # left out by the filter, not for want of data
  } else if (status == "run") passed = 1
  else failed = 1
  if (failed) print "FAILED: " name
  all_passed += passed; all_failed += failed; all_skipped += skipped; skip_message = 0
}
/SKIP_RETURN_CODE|<skipped / { skip_message = 1 }

END {
  if (broken) { print "FAILED: the build (see above)"; ++all_failed }
  if (all_passed + all_failed + all_skipped == 0) { print "FAILED: no test was chosen"; all_failed = 1 }
  line = (all_passed + 0) " passed, " (all_failed + 0) " failed"
  if (all_skipped) line = line ", " all_skipped " skipped"
  print line
  exit all_failed > 0
}

function attribute(key,   text) {
  if (!match($0, " " key "=\"[^\"]*\"")) return ""
  text = substr($0, RSTART, RLENGTH)
  sub(/^[^"]*"/, "", text); sub(/"$/, "", text)
  return text
}
function number_before(word,   text) {
  if (!match($0, "[0-9]+ +" word)) return 0
  text = substr($0, RSTART, RLENGTH)
  return text + 0
}
