# What failed, once more and short: whoever reads the end of a long log should not have to search in it.

function say(line) {
  if (++said <= 150) print line
  else if (said == 151) print "… the rest is in the log"
}

# cargo test: what a failed test printed, without the way there, then the list of the failed.
/^failures:$/ { inside = 1 }
/^stack backtrace:$/ { is_trace = 1 }
is_trace { if (/^note:/) is_trace = 0; next }
/^successes:$/ || /^test result: / { inside = 0 }
inside { say($0); next }

# pytest: the heads of the failures, the lines of the error, the summary.
/^_+ .* _+$/ || /^E  / || /^(FAILED|ERROR) / { say($0); next }

# The compiler, and make.
/^error[:[]/ || /^make.*\*\*\*/ || /^SKIP / { say($0) }
