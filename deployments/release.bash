# How this repository's own programs are built for others: sourced by run.sh and
# by .ci/images, in the root of the repository.

# sources lists the files that a release is built from.
sources() {
	git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done | LC_ALL=C sort -z
}

# copy_sources DIR puts the sources into a directory.
copy_sources() {
	mkdir -p "$1"
	sources | tar --null --no-recursion -T - -cf - | tar -C "$1" -xf -
}

# build_go FROM INTO PACKAGE… compiles commands, from a copy of the sources into a
# directory, with the flags of go build in GO_BUILD, too. GO_MODULE is the directory
# of the module in the copy.
build_go() {
	local from=$1 into=$2 p
	shift 2
	mkdir -p "$into"
	for p; do
		(cd "$from/${GO_MODULE:-.}" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local \
			go build -trimpath -ldflags=-buildid= ${GO_BUILD:-} -o "$into/${p##*/}" "$p")
	done
}
