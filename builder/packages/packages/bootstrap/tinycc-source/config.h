/* How tinycc is configured: for x86-64 Linux, linked statically, with the paths
 * of the finished compiler. */
#define ONE_SOURCE 1
#define TCC_TARGET_X86_64 1
#define TCC_VERSION "0.9.27"
#define CONFIG_TCC_STATIC 1
#define CONFIG_LINK_STATIC 1 /* our own: there are no shared libraries */
#define CONFIG_TCC_MUSL 1
#define CONFIG_TCCDIR "/usr/lib/tcc"
#define CONFIG_TCC_CRTPREFIX "/usr/lib"
#define CONFIG_TCC_LIBPATHS "/usr/lib"
#define CONFIG_TCC_SYSINCLUDEPATHS "/usr/include:{B}/include"
