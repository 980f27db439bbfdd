#!/bin/sh
# build.sh compiles busybox with tinycc and a shell, without make: it writes the
# files that busybox's own build writes, for what busybox.config turns on. It
# runs in a writable copy of busybox's sources, with busybox.config beside them;
# CC compiles and links.
set -eu
umask 022

# define writes what C is told of the option $1, whose value is $2.
define() {
	case $2 in
	y) printf '#define CONFIG_%s 1\n#define ENABLE_%s 1\n#define IF_%s(...) __VA_ARGS__\n#define IF_NOT_%s(...)\n' "$1" "$1" "$1" "$1" ;;
	'') printf '#define ENABLE_%s 0\n#define IF_%s(...)\n#define IF_NOT_%s(...) __VA_ARGS__\n' "$1" "$1" "$1" ;;
	*) printf '#define CONFIG_%s %s\n' "$1" "$2" ;;
	esac
}

# autoconf.h: each option that the sources name, in the order of its name.
for f in Config.in */Config.src */*/Config.src */*.c */*/*.c; do
	[ ! -e "$f" ] || sed -n -e 's,^//config:,,' -e 's/^config \([A-Za-z0-9_]*\)$/\1/p' "$f"
done | sort -u >options
while read -r name; do
	define "$name" "$(sed -n "s/^$name=//p" busybox.config)"
done <options >include/autoconf.h
echo '#define AUTOCONF_TIMESTAMP ""' >>include/autoconf.h

# insert writes $1 with what comes in on stdin in place of its line INSERT.
insert() {
	sed '/^INSERT$/,$d' "$1"
	cat
	sed '1,/^INSERT$/d' "$1"
}
sed -n 's,^//applet:,,p' */*.c */*/*.c | insert include/applets.src.h >include/applets.h
insert include/usage.src.h </dev/null >include/usage.h
echo '#define UNPACKED_USAGE ""' >include/usage_compressed.h
{
	echo 'enum { COMMON_BUFSIZE = 1024 };'
	echo 'extern char bb_common_bufsiz1[];'
	echo '#define setup_common_bufsiz() ((void)0)'
} >include/common_bufsiz.h
printf '#define NUM_SCRIPTS 0\n' >include/embedded_scripts.h

flags='-std=gnu99 -D__attribute__=__attribute__ -Iinclude -Ilibbb -include include/autoconf.h -D_GNU_SOURCE -DNDEBUG
	-D_LARGEFILE_SOURCE -D_LARGEFILE64_SOURCE -D_FILE_OFFSET_BITS=64 -DBB_VER="1.35.0"'
$CC $flags -o applet_tables applets/applet_tables.c
./applet_tables include/applet_tables.h include/NUM_APPLETS.h

on() { [ "$(sed -n "s/^$1=//p" busybox.config)" = y ]; }

# common is what archival/libarchive has always: its makefile has it in lines
# that go on.
common='data_skip.o data_extract_all.o data_extract_to_stdout.o unsafe_symlink_target.o filter_accept_all.o
	filter_accept_list.o filter_accept_reject_list.o header_skip.o header_list.o header_verbose_list.o
	seek_by_read.o seek_by_jump.o data_align.o find_list_entry.o init_handle.o'

# sources lists what the makefile fragments of the directory $1 ask for, in
# lines such as lib-y += a.o b.o and lib-$(CONFIG_NAME) += a.o b.o
sources() {
	for f in "$1"/Kbuild.src "$1"/*.c; do
		sed -n -e 's,^//kbuild: *,,' -e 's/^lib-y[[:blank:]]*[:+]=[[:blank:]]*/y /p' -e 's/^lib-$(CONFIG_\([A-Za-z0-9_]*\))[[:blank:]]*+=[[:blank:]]*/\1 /p' "$f"
	done | while read -r option files; do
		[ "$option" = y ] || on "$option" || continue
		[ "$files" != '$(COMMON_FILES)' ] || files=$common
		for o in $files; do
			echo "$1/${o%.o}.c"
		done
	done
}
for f in */Kbuild.src */*/Kbuild.src; do
	sources "${f%/Kbuild.src}"
done | sort -u >files
while read -r f; do
	$CC $flags -c "$f" -o "${f%.c}.o"
done <files
$CC $flags -c applets/applets.c -o applets/applets.o
$CC -o busybox applets/applets.o $(sed 's/c$/o/' files)

mkdir -p rootfs/bin rootfs/usr/bin
cp busybox rootfs/usr/bin
for name in $(./busybox --list); do
	ln -s busybox "rootfs/usr/bin/$name"
done
ln -s ../usr/bin/busybox rootfs/bin/sh
