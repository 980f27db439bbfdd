#!/bin/sh
# ddc.sh compiles tinycc and musl with a seed compiler, then with what came of
# it, until nothing changes any more:
#
#	seed -> tcc0 -> musl0 -> tcc1 -> musl1 -> tcc2 -> musl2 -> tcc3
#
# It runs in a writable copy of the directory it stands in; SEEDCC is the seed
# compiler's command. tcc0 is linked with the seed's libc; tcc1 and all that
# follow hold nothing but what the tinycc before them made. tcc3 must be tcc2.
# The result is in out, as it stands in a root file system.
set -eu
top=$PWD
umask 022

# prepare changes the sources to what tinycc can compile: it knows neither
# complex numbers nor most of the assembly of the mathematical functions, which
# have C beside them. sqrtl has none that is exact.
prepare() {
	(cd tcc && patch -p1 -i "$top/tcc.patch" && cp "$top/config.h" .)
	rm -r musl/src/complex musl/src/fenv/x86_64 musl/src/math/x86_64
	(cd musl && patch -p1 -i "$top/musl.patch")
	mkdir musl/src/math/x86_64
	cp sqrtl.s musl/src/math/x86_64
}

# headers makes musl's headers in include: they need no compiler.
headers() {
	mkdir -p include
	cp -R musl/include/. include
	rm include/alltypes.h.in
	cp -R musl/arch/generic/bits include
	cp musl/arch/x86_64/bits/*.h include/bits
	cat musl/arch/x86_64/bits/alltypes.h.in musl/include/alltypes.h.in |
		sed -f musl/tools/mkalltypes.sed >include/bits/alltypes.h
	cp musl/arch/x86_64/bits/syscall.h.in include/bits/syscall.h
	sed -n -e s/__NR_/SYS_/p <musl/arch/x86_64/bits/syscall.h.in >>include/bits/syscall.h
	echo "#define VERSION \"$(cat musl/VERSION)\"" >musl/src/internal/version.h
}

# sources lists the files of musl/src/$1 to compile, as seen from the directory of
# their objects: objects hold the names, so that these are relative. One for the
# architecture replaces the general one of its name.
sources() {
	for f in "musl/src/$1"/*.c; do
		n=${f##*/}
		n=${n%.c}
		[ ! -e "$f" ] || [ -e "musl/src/$1/x86_64/$n.s" ] || [ -e "musl/src/$1/x86_64/$n.c" ] || echo "../../../$f"
	done
	for f in "musl/src/$1"/x86_64/*.[cs]; do
		[ ! -e "$f" ] || echo "../../../$f"
	done
}

# musl makes libc.a and the startup files in $2 with the tinycc $1.
musl() {
	flags="-std=c99 -nostdinc -D_XOPEN_SOURCE=700 -I$top/musl/arch/x86_64 -I$top/musl/arch/generic
		-I$top/musl/src/include -I$top/musl/src/internal -I$top/include"
	for d in musl/src/* musl/src/malloc/mallocng; do
		d=${d#musl/src/}
		files=$(sources "$d")
		[ -n "$files" ] || continue
		out=$2/obj/$(echo "$d" | tr / -)
		mkdir -p "$out"
		(cd "$out" && "$top/$1" $flags -c $files)
	done
	# The linker takes members as they come: the order is part of the result.
	"$1" -ar rcs "$2/libc.a" "$2"/obj/*/*.o
	for f in crt1.c x86_64/crti.s x86_64/crtn.s; do
		o=${f##*/}
		"$1" $flags -c "musl/crt/$f" -o "$2/${o%.?}.o"
	done
}

# runtime makes libtcc1.a in $2 with the tinycc $1.
runtime() {
	for f in libtcc1.c va_list.c alloca86_64.S; do
		"$1" -nostdinc -Itcc -Itcc/include -c "tcc/lib/$f" -o "$2/${f%.?}.o"
	done
	"$1" -ar rcs "$2/libtcc1.a" "$2/libtcc1.o" "$2/va_list.o" "$2/alloca86_64.o"
}

# next makes the libraries of generation $1 with its tinycc, and the tinycc of
# generation $2 with both.
next() {
	mkdir -p "gen$1" "gen$2"
	musl "gen$1/tcc" "gen$1"
	runtime "gen$1/tcc" "gen$1"
	"gen$1/tcc" -nostdinc -Itcc -Iinclude -Itcc/include -c tcc/tcc.c -o "gen$1/tcc.o"
	(cd "gen$1" && ./tcc -nostdlib -static -o "$top/gen$2/tcc" crt1.o crti.o tcc.o libc.a libtcc1.a crtn.o)
	sha256sum "gen$1/libc.a" "gen$1/libtcc1.a" "gen$2/tcc"
}

prepare
headers
mkdir gen0
$SEEDCC -Itcc -o gen0/tcc tcc/tcc.c
sha256sum gen0/tcc
next 0 1
next 1 2
next 2 3
for f in libc.a libtcc1.a crt1.o crti.o crtn.o; do
	cmp "gen1/$f" "gen2/$f"
done
cmp gen2/tcc gen3/tcc

mkdir -p out/usr/bin out/usr/lib/tcc
cp gen2/tcc out/usr/bin
cp gen2/libc.a gen2/crt1.o gen2/crti.o gen2/crtn.o out/usr/lib
# All of these are in libc.a.
for l in m rt pthread crypt util xnet resolv dl; do
	printf '!<arch>\n' >"out/usr/lib/lib$l.a"
done
cp gen2/libtcc1.a out/usr/lib/tcc
cp -R include out/usr
cp -R tcc/include out/usr/lib/tcc
