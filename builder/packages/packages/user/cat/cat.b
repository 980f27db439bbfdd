// cat [FILE...]: writes the files, one after the other. "-", or no FILE, is the
// standard input. Ends with status 1 if a file could not be read.
var buffer[8192];           // IO_SIZE bytes
var status;

copy(file, name) {
  var n;
  while ((n = read(file, buffer, IO_SIZE)) > 0) put_bytes(buffer, n);
  if (n < 0) {
    warn(name, n);
    status = 1;
  }
}

main(argc, argv) {
  var i, file;
  io_program = "cat";
  if (argc == 1) copy(0, "-");
  i = 1;
  while (i < argc) {
    if (equal(argv[i], "-")) copy(0, "-");
    else {
      file = open(argv[i]);
      if (file < 0) {
        warn(argv[i], file);
        status = 1;
      } else {
        copy(file, argv[i]);
        close(file);
      }
    }
    i = i + 1;
  }
  flush();
  return status;
}
