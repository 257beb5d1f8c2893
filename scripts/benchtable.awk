# Prints the figures of `go test -bench` beside their limits; of several runs the best counts, as what else the machine does only makes
# them worse. Input: the output of the benchmarks. A limit that is missed fails nothing.

/^Benchmark/ {
    name = $1
    sub(/^Benchmark/, "", name)
    sub(/-[0-9]+$/, "", name)
    for (i = 3; i < NF; i += 2)
        if (!((name, $(i + 1)) in value) || $i < value[name, $(i + 1)]) value[name, $(i + 1)] = $i + 0
}
/^cpu:/ { cpu = substr($0, 6) }
/^(FAIL|---)/ { failed = 1 }

function row(what, has, figure, unit, limit, over) {
    if (!has) { printf "%-52s %12s\n", what, "not measured"; return }
    printf "%-52s %8.2f %-5s %s%8.2f %-5s %s\n", what, figure, unit, over ? ">=" : "<=", limit, unit, (over ? figure >= limit : figure <= limit) ? "" : "MISSED"
}
function ns(name) { return value[name, "ns/op"] }
function cpuOf(name) { return value["Check/" name, "server-µs/op"] }
function ratio(a, b) { return b ? a / b : 0 }
function grpc(kind, unit) { return value["GRPC/" kind, unit] }
function grpcCPU(kind) { return grpc(kind, "proxies-µs/op") + grpc(kind, "rest-µs/op") }
# beside prints what two things take; there is no limit to it.
function beside(what, has, a, b, unit) {
    if (!has) { printf "%-52s %12s\n", what, "not measured"; return }
    printf "%-52s %8.2f %-5s beside %5.2f %-5s\n", what, a, unit, b, unit
}
function growth(shape, n, limit, what) {
    what = "decide/" shape "/allow: growth from 10 to " n " rules"
    row(what, ns("Decide/" shape "/allow/rules=10"), 100 * (ratio(ns("Decide/" shape "/allow/rules=" n), ns("Decide/" shape "/allow/rules=10")) - 1), "%", limit)
}

END {
    printf "\n%-52s %14s %17s\n", "figure (" (cpu ? cpu : "unknown CPU") ")", "measured", "limit"
    row("Check, cached token: server CPU", cpuOf("cached"), cpuOf("cached"), "µs", 25)
    row("  of which an empty Check server takes", cpuOf("empty"), cpuOf("empty"), "µs", 18)
    row("  throughput, in parts of the empty server's", ns("Check/cached"), 100 * ratio(ns("Check/empty"), ns("Check/cached")), "%", 80, 1)
    row("Check, denied (scope missing): server CPU", cpuOf("scope_missing"), cpuOf("scope_missing"), "µs", 1.1 * cpuOf("cached"))
    row("Check, fresh RS256 token: server CPU less transport", cpuOf("fresh_RS256"), cpuOf("fresh_RS256") - cpuOf("empty"), "µs", 80)
    row("Check, fresh ES256 token: server CPU less transport", cpuOf("fresh_ES256"), cpuOf("fresh_ES256") - cpuOf("empty"), "µs", 130)
    opaque = value["CheckOpaque/opaque_cached", "server-µs/op"]
    row("Check, cached opaque token: server CPU", opaque, opaque, "µs", 25)
    beside("Check, opaque token that is asked about: server CPU", opaque, value["CheckOpaque/opaque_cold", "server-µs/op"], value["CheckOpaque/empty", "server-µs/op"], "µs")
    known = value["CheckBasic/warm", "server-µs/op"]
    row("Check, known password: server CPU", known, known, "µs", 25)
    beside("Check, password that is hashed (bcrypt-10): server CPU", known, value["CheckBasic/cold", "server-µs/op"], value["CheckBasic/empty", "server-µs/op"], "µs")
    withKey = value["CheckKey/key", "server-µs/op"]
    row("Check, API key: server CPU", withKey, withKey, "µs", 25)
    beside("API key, and its bare SHA-256", ns("Verify/key"), ns("Verify/key") / 1e3, ns("Verify/hash") / 1e3, "µs")
    beside("DPoP proof, and its bare signature check", ns("Verify"), ns("Verify") / 1e3, ns("Signature") / 1e3, "µs")
    beside("client certificate, and its bare signature check", ns("Verify/signature"), ns("Verify/cold") / 1e3, ns("Verify/signature") / 1e3, "µs")
    reused = value["CheckInternal/internal_reused", "server-µs/op"]
    row("Check that reuses an internal token: server CPU", reused, reused, "µs", 25)
    minted = value["CheckInternal/internal_minted", "server-µs/op"]
    beside("Check that makes an internal token: server CPU", minted, minted, value["CheckInternal/empty", "server-µs/op"], "µs")
    row("internal token made, times the bare signature", ns("Mint/made"), ratio(ns("Mint/made"), ns("Mint/bare_EdDSA")), "x", 1.5)
    row("fresh RS256 token, times the bare signature check", ns("Verify/fresh_RS256"), ratio(ns("Verify/fresh_RS256"), ns("BareSignature/RS256")), "x", 1.3)
    row("fresh ES256 token, times the bare signature check", ns("Verify/fresh_ES256"), ratio(ns("Verify/fresh_ES256"), ns("BareSignature/ES256")), "x", 1.3)
    row("forged RS256 token, times a good fresh one", ns("Verify/forged_RS256"), ratio(ns("Verify/forged_RS256"), ns("Verify/fresh_RS256")), "x", 1)
    many = "Issuers/accepted/cached/n="
    row("cached token, 1000 issuers configured: growth", ns("Issuers/configured/cached/n=1000"), 100 * (ratio(ns("Issuers/configured/cached/n=1000"), ns("Issuers/configured/cached/n=1")) - 1), "%", 20)
    row("cached token, 1000 issuers accepted on its route", ns(many 1000), ns(many 1000) / 1e3, "µs", 20)
    row("fresh token, 1000 issuers accepted: growth", ns("Issuers/accepted/fresh/n=1000"), 100 * (ratio(ns("Issuers/accepted/fresh/n=1000"), ns("Issuers/accepted/fresh/n=1")) - 1), "%", 50)
    row("first token of a fresh key, its fetch included", ns("ColdKey/first_token"), ns("ColdKey/first_token") / 1e6, "ms", 2)
    row("  of which a bare fetch of the keys takes", ns("ColdKey/bare_fetch"), ns("ColdKey/bare_fetch") / 1e6, "ms", 1)
    split("path peer claim", shapes, " ")
    for (s = 1; s <= 3; s++) { growth(shapes[s], 1000, 5); growth(shapes[s], 100000, 20) }
    split("100 1000 10000", sizes, " ")
    for (s = 1; s <= 3; s++) {
        n = sizes[s]
        row("compile + translate of " n " routes", ns("Compile/" n) && ns("Translate/routes=" n), (ns("Compile/" n) + ns("Translate/routes=" n)) / 1e6, "ms", n / 10)
    }
    row("push of one changed route to 1000 delta clients", ns("Push"), ns("Push") / 1e6, "ms", 200)
    row("SVIDs issued, in parts of bare CreateCertificate", ns("Issue/issue"), 100 * ratio(ns("Issue/bare"), ns("Issue/issue")), "%", 70, 1)
    has = grpc("mesh/one", "ns/op") && grpc("plain/one", "ns/op")
    beside("gRPC through gateway and sidecar, beside plain Envoys", has, grpc("mesh/one", "ns/op") / 1e6, grpc("plain/one", "ns/op") / 1e6, "ms")
    beside("  CPU of the Envoys", has, grpc("mesh/many", "proxies-µs/op"), grpc("plain/many", "proxies-µs/op"), "µs")
    beside("  CPU of client, application and Credence", has, grpc("mesh/many", "rest-µs/op"), grpc("plain/many", "rest-µs/op"), "µs")
    row("  latency added, each hop", has, (grpc("mesh/one", "ns/op") - grpc("plain/one", "ns/op")) / 2e6, "ms", 0.45)
    row("  CPU added, each hop, mTLS included", has, (grpcCPU("mesh/many") - grpcCPU("plain/many")) / 2, "µs", 130)
    exit failed
}
