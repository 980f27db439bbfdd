#!/usr/bin/env bash
# The demonstration behind `make run`: a tree of packages is built from a seed of
# 249 bytes with one engine, and reproduced by somebody else with another; this
# repository's own release is built and rebuilt; all of it is attested and logged
# in a ledger that two of three witnesses must cosign. Evidence is saved, everything
# is stopped, and the artifacts are verified offline by a policy that asks for both
# operators, down to the seed. At last the ledger is started again, its dashboard
# says the same, and it stays up, unless ONCE is set.
#
# State is kept under .run and made anew each time.
set -euo pipefail
cd "$(dirname "$0")/.."
. deployments/release.bash
root=$PWD
run=$root/.run
cairn=$root/bin/cairn
readonly commands="cairn cairn-ledger cairn-witness"
readonly witnesses="w1 w2 w3" quorum=2
readonly repository=https://github.com/cairnlog/cairn

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'run: error: %s\n' "$*" >&2; exit 1; }

declare -A pids # of the daemons that run

# start NAME COMMAND ARGUMENT… starts a daemon, and returns the line that says
# that it is ready in $ready. The pipe ends with the daemon, ready or not.
start() {
	local name=$1 pipe=$run/$1.ready
	shift
	rm -f "$pipe"
	mkfifo "$pipe"
	"$root/bin/$1" "${@:2}" >"$pipe" 2>>"$run/$name.log" &
	pids[$name]=$!
	read -r ready <"$pipe" || fail "$name did not start; see $run/$name.log"
}

# stop NAME… stops daemons that run.
stop() {
	local name status failed=0
	for name; do
		[ -n "${pids[$name]:-}" ] || continue
		status=0
		kill -TERM "${pids[$name]}" 2>/dev/null || true
		wait "${pids[$name]}" || status=$?
		unset "pids[$name]"
		[ "$status" -eq 0 ] || {
			echo "run: error: $name exited with $status; see $run/$name.log" >&2
			failed=1
		}
	done
	return "$failed"
}

# What the ledger took last is still published: the witnesses stop after it.
stop_all() { stop worker ledger $witnesses; }

leave() {
	local status=$?
	trap '' INT TERM
	stop_all || status=1
	exit "$status"
}
trap leave EXIT
trap 'exit 130' INT TERM

# found_network starts each daemon once, alone. Then it has a key and an address
# that the policy, and so the others, can name.
found_network() {
	local w
	start ledger cairn-ledger -dev "$run/ledger"
	log=$(jq -er .vkey <<<"$ready")
	ledger_url=$(jq -er .http <<<"$ready")
	stop ledger
	echo "log $log $ledger_url" >"$run/policy"
	for w in $witnesses; do
		start "$w" cairn-witness -dev "$run/$w" -name "$w.example"
		jq -er --arg w "$w" '"witness \($w) \(.vkey) \(.http)"' <<<"$ready" >>"$run/policy"
		stop "$w"
	done
	printf 'group enough %s %s\nquorum enough\n' "$quorum" "$witnesses" >>"$run/policy"
}

# start_network ARGUMENT… starts the witnesses, as peers of each other, and the
# ledger with further arguments.
start_network() {
	local w other url args
	for w in $witnesses; do
		url=$(awk -v w="$w" '$1 == "witness" && $2 == w { print $4 }' "$run/policy")
		args=()
		for other in $witnesses; do
			[ "$other" = "$w" ] || args+=(-peer "$other")
		done
		start "$w" cairn-witness -dev "$run/$w" -http "${url#http://}" -policy "$run/policy" -log "$log" "${args[@]}"
		echo "witness $(jq -r .name <<<"$ready") at $url"
	done
	start ledger cairn-ledger -dev "$run/ledger" -http "${ledger_url#http://}" -policy "$run/policy" "$@"
	export CAIRN_LEDGER=$ledger_url
	echo "ledger $(jq -r .origin <<<"$ready") at $CAIRN_LEDGER"
}

readonly tree=$root/builder/packages

# start_worker starts the rebuilder's worker, which does what the ledger queues.
start_worker() {
	"$root/bin/cairn-builder" worker --tree "$tree" --dir "$run/rebuilder" --engine buildah --quiet \
		--key "$run/rebuilder.key" --operator https://rebuilder.example --name rebuilder \
		--token "$run/ledger/worker.token" >"$run/worker.log" 2>&1 &
	pids[worker]=$!
}

# build_tree builds the ladder of the tree. Nothing is built upon its first rungs
# before the rebuilder has obtained them, too.
build_tree() {
	"$root/bin/cairn-builder" build --tree "$tree" --dir "$run/builder" --quiet \
		--key "$run/builder.key" --operator https://builder.example --gate-wait 15m pallet/ladder ||
		fail "the tree could not be built; what the rebuilder did is in $run/worker.log"
	local other
	other=$("$root/bin/cairn-builder" digests --dir "$run/builder" | LC_ALL=C sort | LC_ALL=C comm -23 - <(LC_ALL=C sort "$tree"/digests/*.txt))
	[ -z "$other" ] || fail "these are not the digests in $tree/digests: $other"
}

# jobs STATE counts the queue's jobs in a state. That there is none is exit code 3.
jobs() {
	{ $cairn builds list --state "$1" -o json || [ $? -eq 3 ]; } | jq '.builds | length'
}

# await_queue returns once the rebuilder has done a job for each package that was
# built. The ledger queues them as it publishes.
await_queue() {
	local want deadline=$((SECONDS + 600))
	want=$("$root/bin/cairn-builder" digests --dir "$run/builder" | wc -l)
	until [ "$(jobs done)" -ge "$want" ]; do
		[ "$(jobs failed)" -eq 0 ] || fail "a reproduction failed; see $run/worker.log"
		kill -0 "${pids[worker]}" 2>/dev/null || fail "the worker ended; see $run/worker.log"
		[ "$SECONDS" -lt "$deadline" ] || fail "the rebuilder has done $(jobs done) of $want jobs; see $run/worker.log"
		sleep 1
	done
}

# await_dashboard returns once the page of pallet-ladder, and so its twin, says that
# it is reproduced. The ledger judges it anew, from the log.
await_dashboard() {
	local verdict deadline=$((SECONDS + 120))
	until [ "${verdict:-}" = reproduced ]; do
		[ "$SECONDS" -lt "$deadline" ] || fail "the dashboard says of pallet-ladder: ${verdict:-nothing}; see $run/ledger.log"
		sleep 0.2
		verdict=$(curl -sf "$CAIRN_LEDGER/p/$pallet.json" | jq -r .verdict) || verdict=
	done
	grep -q '<title>✓ reproduced: ' <<<"$(curl -sf "$CAIRN_LEDGER/p/$pallet")" ||
		fail "the page of pallet-ladder does not say what its twin says"
	echo "the dashboard says: pallet-ladder is $verdict"
}

# build FROM INTO compiles the commands from a copy of the sources into a directory.
build() { build_go "$1" "$2" $(printf './cmd/%s ' $commands); }

sha256() { sha256sum | cut -d' ' -f1; }

rm -rf "$run"
mkdir -p "$run/out"

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
	# Each compiler has one thread; how many of them run is another matter.
	GO_BUILD="-p $(nproc)" build "$run/two/a longer path/src" "$run/two/bin"
)
rm -rf "$run/two/cache"
(cd "$run" && sha256sum one/bin/* two/bin/*)

say "starting three witnesses, and a ledger that two of them must cosign"
found_network
start_network
export CAIRN_POLICY=$run/policy
cat "$CAIRN_POLICY"

say "two operators enrol their keys; whoever verifies writes down that both must have obtained what is to be trusted"
seed=sha256:$(sha256 <"$tree/packages/bootstrap/stage0/hex0-seed")
toolchain=sha256:$(cd "$(go env GOROOT)" && find bin pkg/tool -type f | LC_ALL=C sort | xargs sha256sum | sha256)
trust=$run/trust.policy
cp "$run/policy" "$trust"
for who in builder rebuilder; do
	key=$($cairn keygen -O "$run/$who.key")
	$cairn enrol --key "$run/$who.key" --operator "https://$who.example"
	echo "rebuilder $who $key operator=https://$who.example" >>"$trust"
done
cat >>"$trust" <<POLICY
rebuild-group both all builder rebuilder
rebuild-quorum both
dissent block
# the 249 bytes that the tree begins with
seed $seed
# the Go toolchain of this machine: nobody has logged what it was built from
seed $toolchain
POLICY
$cairn policy check "$trust"
export CAIRN_POLICY=$trust

say "a builder makes packages from a seed of 249 bytes; a rebuilder reproduces each with another engine"
start_worker
build_tree
await_queue
wc=sha256:$("$root/bin/cairn-builder" digests --dir "$run/builder" | awk '$2 == "user-wc" { print $1 }')
pallet=sha256:$("$root/bin/cairn-builder" digests --dir "$run/builder" | awk '$2 == "pallet-ladder" { print $1 }')

say "where wc comes from: each step built by one, reproduced by the other, down to the seed"
$cairn trace "$wc"

say "the builder attests this release, and what it was built from; the rebuilder what it got"
sum=$(sources | xargs -0 sha256sum | sha256)
version=$(go env GOVERSION)
for c in $commands; do
	claim=(--purl "pkg:golang/github.com/cairnlog/cairn/cmd/$c?arch=$(go env GOARCH)&os=$(go env GOOS)"
		--build-type "$repository/buildtypes/go/v1"
		--material "uri=git+$repository,digest=sha256:$sum,role=source"
		--material "uri=$repository/blob/main/go.sum,digest=sha256:$(sha256 <go.sum),role=source"
		--material "uri=pkg:generic/go@${version#go},digest=$toolchain,role=seed")
	$cairn attest build "$run/one/bin/$c" --key "$run/builder.key" "${claim[@]}" \
		--builder-id https://builder.example/release --operator https://builder.example -O "$run/out/$c.build"
	$cairn attest reproduction --of "$run/one/bin/$c" --output "$run/two/bin/$c" --key "$run/rebuilder.key" "${claim[@]}" \
		--rebuilder-id https://rebuilder.example/ci --operator https://rebuilder.example -O "$run/out/$c.reproduction"
done
$cairn submit "$run"/out/*

say "what the ledger knows of $(set -- $commands; echo "$1")"
$cairn show "$run/one/bin/$(set -- $commands; echo "$1")"

say "evidence for years to come: one file for each artifact"
$cairn bundle "$pallet" -O "$run/out/pallet-ladder.cairn-bundle"
for c in $commands; do
	$cairn bundle "$run/one/bin/$c" -O "$run/out/$c.cairn-bundle"
done

say "stopping the ledger and the witnesses, and verifying offline"
stop_all
unset CAIRN_LEDGER
$cairn verify "$pallet" --bundle "$run/out/pallet-ladder.cairn-bundle" ||
	fail "pallet-ladder is not proven to be rebuilt by both, down to the seed"
for c in $commands; do
	$cairn verify "$run/one/bin/$c" --bundle "$run/out/$c.cairn-bundle" ||
		fail "$c is not proven to be rebuilt: the release is not reproducible"
done

say "auditing the ledger's whole log, as it lies on disk"
$cairn audit "$run/ledger"

say "verdict: reproduced"
echo "pallet-ladder and all it is made from, down to the seed of 249 bytes: built with BuildKit by"
echo "https://builder.example, reproduced with Buildah by https://rebuilder.example;"
echo "$commands: built by the one, rebuilt bit for bit by the other."

say "the ledger again, with the verdicts of that policy on its dashboard"
start_network -verdicts "$trust"
await_dashboard
echo "look: $CAIRN_LEDGER/"
echo "      $CAIRN_LEDGER/p/$pallet"
echo "      $CAIRN_LEDGER/bootstrap?to=$pallet"
[ -z "${ONCE:-}" ] || exit 0
start_worker
echo "try:  CAIRN_LEDGER=$CAIRN_LEDGER CAIRN_POLICY=$trust bin/cairn status $pallet"
say "the ledger and its witnesses are up; stop them with Ctrl-C"
wait "${pids[ledger]}"
