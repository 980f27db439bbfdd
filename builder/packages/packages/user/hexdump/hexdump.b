// hexdump [FILE]: writes the bytes of a file, or of the standard input, in the
// language of hex0: 16 to a line, then, as a comment, the offset of the first and
// those that can be printed. hex0 makes the same bytes of it again.
var line[2], used, offset;
var buffer[8192];

flush_line() {
  var i, c;
  while (i < 16) {
    if (i < used) {
      put_hex(line.[i], 2);
      put(' ');
    } else put_text("   ");
    i = i + 1;
  }
  put_text("# ");
  put_hex(offset, 8);
  put_text("  ");
  i = 0;
  while (i < used) {
    c = line.[i];
    if (c < 32 || c > 126) c = '.';
    put(c);
    i = i + 1;
  }
  put('\n');
  offset = offset + used;
  used = 0;
}

main(argc, argv) {
  var file, n, i;
  io_program = "hexdump";
  if (argc > 2) usage("hexdump [FILE]");
  if (argc == 2) {
    file = open(argv[1]);
    if (file < 0) {
      warn(argv[1], file);
      return 1;
    }
  }
  while ((n = read(file, buffer, IO_SIZE)) > 0) {
    i = 0;
    while (i < n) {
      line.[used] = buffer.[i];
      used = used + 1;
      if (used == 16) flush_line();
      i = i + 1;
    }
  }
  if (used) flush_line();
  flush();
  if (n < 0) {
    warn("read error", n);
    return 1;
  }
  return 0;
}
