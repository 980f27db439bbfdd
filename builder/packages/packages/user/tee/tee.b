// tee [-a] FILE...: writes the standard input to the standard output and to the
// files; with -a, to their ends. Ends with status 1 if a file could not be written.
var buffer[8192];           // IO_SIZE bytes
var files[1024], names[1024], count;

main(argc, argv) {
  var i, n, append, status, error;
  io_program = "tee";
  i = 1;
  if (argc > 1) if (equal(argv[1], "-a")) {
    append = 1;
    i = 2;
  }
  files[0] = 1;
  names[0] = "standard output";
  count = 1;
  while (i < argc) {
    if (count == 1024) usage("tee [-a] FILE...: at most 1023 files");
    files[count] = create(argv[i], append);
    names[count] = argv[i];
    if (files[count] < 0) {
      warn(argv[i], files[count]);
      status = 1;
    } else count = count + 1;
    i = i + 1;
  }
  while ((n = read(0, buffer, IO_SIZE)) > 0) {
    i = 0;
    while (i < count) {
      if (files[i] >= 0) {
        error = write(files[i], buffer, n);
        if (error < 0) {
          warn(names[i], error);
          files[i] = -1;
          status = 1;
        }
      }
      i = i + 1;
    }
  }
  if (n < 0) {
    warn("-", n);
    status = 1;
  }
  return status;
}
