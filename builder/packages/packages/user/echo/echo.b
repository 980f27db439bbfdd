// echo [-n] WORD...: writes the words, with blanks between them, and a new line,
// unless the first is -n.
main(argc, argv) {
  var i, quiet;
  io_program = "echo";
  i = 1;
  if (argc > 1) if (equal(argv[1], "-n")) {
    quiet = 1;
    i = 2;
  }
  while (i < argc) {
    put_text(argv[i]);
    i = i + 1;
    if (i < argc) put(' ');
  }
  if (!quiet) put('\n');
  flush();
  return 0;
}
