# Sums up a journal of turns and the events of Swift Testing, given in this order. `want` says what of it:
# failed: each failed test with its first issue
# slowest: durations and tests, of those that take turns
# unfinished: the tests that have begun and not ended
# running: those that have run for more than `slow` seconds at the time `now`, with how long and what they are called

# The string after `key`, as it stands in JSON; empty if there is none.
function text(key,    start, rest) {
    start = index($0, "\"" key "\":\"")
    if (start == 0) return ""
    rest = substr($0, start + length(key) + 4)
    match(rest, /^([^"\\]|\\.)*/)
    rest = substr(rest, 1, RLENGTH)
    gsub(/\\\//, "/", rest)
    gsub(/\\"/, "\"", rest)
    gsub(/\\n/, " ", rest)
    return rest
}

function number(key,    start, rest) {
    start = index($0, "\"" key "\":")
    if (start == 0) return 0
    rest = substr($0, start + length(key) + 3)
    match(rest, /^[-0-9.e+]+/)
    return substr(rest, 1, RLENGTH) + 0
}

function has(part) { return index($0, part) > 0 }

# All texts of an event's messages that tell of a failure, on one line.
function messages(    rest, all, part) {
    rest = $0
    while (match(rest, /"text":"([^"\\]|\\.)*"/)) {
        part = substr(rest, RSTART + 8, RLENGTH - 9)
        rest = substr(rest, RSTART + RLENGTH)
        all = all (all == "" ? "" : ": ") part
    }
    gsub(/\\\//, "/", all)
    gsub(/\\"/, "\"", all)
    gsub(/\\n/, " ", all)
    return substr(all, 1, 240)
}

# The journal.
FILENAME ~ /journal$/ {
    split($0, field, "\t")
    if (field[1] == "waits") waits[field[3]] = 1
    if (field[1] == "begins" && !(field[3] in turn)) turn[field[3]] = field[2] + 0
    next
}

has("\"kind\":\"test\"") {
    if (has("\"kind\":\"function\"")) {
        test = text("id")
        isFunction[test] = 1
        name[test] = text("displayName")
        if (name[test] == "") name[test] = text("name")
    }
    next
}

has("\"kind\":\"testStarted\"") { started[text("testID")] = number("since1970"); next }

has("\"kind\":\"testCaseStarted\"") {
    test = text("testID")
    if (!(test in cases)) firstCase[test] = number("since1970")
    cases[test] += 1
    next
}

has("\"kind\":\"testEnded\"") || has("\"kind\":\"testSkipped\"") {
    test = text("testID")
    ended[test] = number("since1970")
    if (isFunction[test] && !(test in waits) && ended[test] > lastLight) lastLight = ended[test]
    next
}

has("\"kind\":\"issueRecorded\"") && has("\"isFailure\":true") && has("\"isKnown\":false") {
    test = text("testID")
    issues += 1
    if (!(test in issue)) {
        issue[test] = text("fileID") ":" number("line") ": " messages()
        order[++failures] = test
    }
}

# When a test began to run: as the journal tells, or with its first case. Else it is known only when it was started, and it
# may have waited since for one of those that were started with it.
function begin(test) {
    if (test in turn) return turn[test]
    if (test in firstCase) return firstCase[test]
    return lastLight > started[test] ? lastLight : started[test]
}

END {
    if (want == "failed") {
        for (i = 1; i <= failures; i++) {
            test = order[i]
            printf "✘ %s\n    %s\n    %s\n", (test == "" ? "in no test" : name[test]), test, issue[test]
        }
    }
    for (test in started) {
        if (!isFunction[test]) continue
        if (want == "slowest" && test in ended && test in turn) {
            printf "%8.1f  %s (%s)\n", ended[test] - begin(test), name[test], test
        }
        if (test in ended || test in waits && !(test in turn)) continue
        if (want == "unfinished") printf "    %s (%s)\n", name[test], test
        if (want == "running" && now - begin(test) > slow) printf "%d\t%s\t%s\n", now - begin(test), test, name[test]
    }
}
