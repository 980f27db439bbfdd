#!/bin/sh
# build.sh compiles make, which needs make if it is built in its own way. The
# tarball of Debian has no configure: config.h is written by hand.
set -eu
umask 022
cp config.h src
cp lib/glob.in.h lib/glob.h
cp lib/fnmatch.in.h lib/fnmatch.h
for f in ar arscan commands default dir expand file function getopt getopt1 guile hash implicit job load loadapi \
	main misc output posixos read remake remote-stub rule signame strcache variable version vpath; do
	$CC -DHAVE_CONFIG_H -Isrc -Ilib -c "src/$f.c" -o "src/$f.o"
done
for f in fnmatch glob; do
	$CC -DHAVE_CONFIG_H -Isrc -Ilib -c "lib/$f.c" -o "lib/$f.o"
done
$CC -o make src/*.o lib/*.o
mkdir -p rootfs/usr/bin
cp make rootfs/usr/bin
