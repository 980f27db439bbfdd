#!/usr/bin/env bash
# The demonstration behind `make run`: this repository's own release is built
# and rebuilt, both are attested and logged, the ledger is stopped, and what it
# logged is verified offline. Then the ledger is started again and stays up,
# unless ONCE is set.
#
# State is kept under .run and made anew each time.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
run=$root/.run
cairn=$root/bin/cairn
readonly commands="cairn cairn-ledger"
readonly repository=https://github.com/cairnlog/cairn

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'run: error: %s\n' "$*" >&2; exit 1; }

ledger_pid=
stop_ledger() {
	[ -n "$ledger_pid" ] || return 0
	kill -TERM "$ledger_pid" 2>/dev/null || true
	local status=0
	wait "$ledger_pid" || status=$?
	ledger_pid=
	[ "$status" -eq 0 ] || fail "the ledger exited with $status; see $run/ledger.log"
}
trap 'stop_ledger' EXIT
trap 'exit 130' INT TERM

# start_ledger starts the ledger and waits for the line that says it is ready.
start_ledger() {
	local line=
	exec 3< <(exec "$root/bin/cairn-ledger" -dev "$run/ledger" 2>>"$run/ledger.log")
	ledger_pid=$!
	read -r line <&3 || fail "the ledger did not start; see $run/ledger.log"
	CAIRN_LEDGER=$(jq -er .http <<<"$line")
	export CAIRN_LEDGER
	echo "ledger $(jq -r .origin <<<"$line") at $CAIRN_LEDGER"
}

# sources lists the files that a release is built from.
sources() {
	git -c safe.directory="$root" ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done | LC_ALL=C sort -z
}

# copy_sources puts the sources into a directory.
copy_sources() {
	mkdir -p "$1"
	sources | tar --null --no-recursion -T - -cf - | tar -C "$1" -xf -
}

# build compiles the commands from a copy of the sources into a directory.
build() {
	local from=$1 into=$2 c
	mkdir -p "$into"
	for c in $commands; do
		(cd "$from" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local \
			go build -trimpath -ldflags=-buildid= -o "$into/$c" "./cmd/$c")
	done
}

sha256() { sha256sum | cut -d' ' -f1; }

rm -rf "$run"
mkdir -p "$run/out" "$run/proofs"

say "building the release: $commands"
copy_sources "$run/one/src"
build "$run/one/src" "$run/one/bin"

# The rebuild shares nothing that could hand it the first one's results: its own
# directory, build cache, time zone, locale and file modes.
say "rebuilding it elsewhere, from nothing"
copy_sources "$run/two/a longer path/src"
(
	umask 077
	export GOCACHE=$run/two/cache TZ=Pacific/Chatham LC_ALL=C GOMAXPROCS=1
	build "$run/two/a longer path/src" "$run/two/bin"
)
rm -rf "$run/two/cache"
(cd "$run" && sha256sum one/bin/* two/bin/*)

say "starting the ledger"
start_ledger
export CAIRN_POLICY=$run/ledger/policy

say "two operators enrol their keys"
for who in builder rebuilder; do
	$cairn keygen -O "$run/$who.key"
	$cairn enrol --key "$run/$who.key" --operator "https://$who.example"
done

say "the builder attests what it built, and from what; the rebuilder what it got"
sum=$(sources | xargs -0 sha256sum | sha256)
modules=$(sha256 <go.sum)
toolchain=$(cd "$(go env GOROOT)" && find bin pkg/tool -type f | LC_ALL=C sort | xargs sha256sum | sha256)
version=$(go env GOVERSION)
for c in $commands; do
	purl="pkg:golang/github.com/cairnlog/cairn/cmd/$c?arch=$(go env GOARCH)&os=$(go env GOOS)"
	$cairn attest build "$run/one/bin/$c" --key "$run/builder.key" --purl "$purl" \
		--builder-id https://builder.example/release --operator https://builder.example \
		--build-type "$repository/buildtypes/go/v1" \
		--material "uri=git+$repository,digest=sha256:$sum,role=source" \
		--material "uri=$repository/blob/main/go.sum,digest=sha256:$modules,role=library" \
		--material "uri=pkg:generic/go@${version#go},digest=sha256:$toolchain,role=toolchain" \
		-O "$run/out/$c.build"
	$cairn attest reproduction --of "$run/one/bin/$c" --output "$run/two/bin/$c" --purl "$purl" \
		--key "$run/rebuilder.key" --rebuilder-id https://rebuilder.example/ci --operator https://rebuilder.example \
		-O "$run/out/$c.reproduction"
done
$cairn submit "$run"/out/* --proof "$run/proofs/"

say "what the ledger knows of $(set -- $commands; echo "$1")"
$cairn show "$run/one/bin/$(set -- $commands; echo "$1")"

say "stopping the ledger, and verifying offline"
stop_ledger
unset CAIRN_LEDGER
verified=0 differing=0
for c in $commands; do
	for kind in build reproduction; do
		$cairn verify "$run/out/$c.$kind" --proof "$run/proofs/$c.$kind.tlog-proof"
		verified=$((verified + 1))
	done
	result=$($cairn verify "$run/out/$c.reproduction" --proof "$run/proofs/$c.reproduction.tlog-proof" -o json | jq -er .result)
	[ "$result" = IDENTICAL ] || differing=$((differing + 1))
done
[ "$verified" -gt 0 ] || fail "nothing was verified"
[ "$differing" -eq 0 ] || fail "$differing of the rebuilt commands differ: the release is not reproducible"

say "verdict: reproduced"
echo "$commands: built by https://builder.example, rebuilt bit for bit by https://rebuilder.example;"
echo "$verified attestations proven to be logged, offline."

[ -z "${ONCE:-}" ] || exit 0
say "the ledger is up; stop it with Ctrl-C"
start_ledger
echo "look: $CAIRN_LEDGER/"
echo "try:  CAIRN_LEDGER=$CAIRN_LEDGER bin/cairn list"
wait "$ledger_pid"
