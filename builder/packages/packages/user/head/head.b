// head [-n LINES | -c BYTES] [FILE...]: writes the beginning of each file, 10 lines
// if nothing is said, under its name if there are several. "-", or no FILE, is the
// standard input. Ends with status 1 if a file could not be read.
var buffer[8192];           // IO_SIZE bytes
var bytes;                  // 1 if bytes are counted, and not lines
var limit, status, shown;

copy(file, name, several) {
  var n, i, left;
  if (several) {
    if (shown) put('\n');
    put_text("==> ");
    if (equal(name, "-")) put_text("standard input");
    else put_text(name);
    put_text(" <==\n");
  }
  shown = 1;
  left = limit;
  while (left > 0) {
    n = read(file, buffer, IO_SIZE);
    if (n < 0) {
      warn(name, n);
      status = 1;
    }
    if (n <= 0) return;
    i = 0;
    while (i < n && left > 0) {
      put(buffer.[i]);
      if (bytes || buffer.[i] == '\n') left = left - 1;
      i = i + 1;
    }
  }
}

// number reads a decimal number.
number(text) {
  var i, n;
  if (text.[0] == 0) usage("head [-n LINES | -c BYTES] [FILE...]");
  while (text.[i]) {
    if (text.[i] < '0' || text.[i] > '9' || n > 100000000000000000)
      usage("head [-n LINES | -c BYTES] [FILE...]");
    n = n * 10 + text.[i] - '0';
    i = i + 1;
  }
  return n;
}

main(argc, argv) {
  var i, file, several;
  io_program = "head";
  limit = 10;
  i = 1;
  if (argc > 1) {
    bytes = equal(argv[1], "-c");
    if (bytes || equal(argv[1], "-n")) {
      if (argc == 2) usage("head [-n LINES | -c BYTES] [FILE...]");
      limit = number(argv[2]);
      i = 3;
    }
  }
  several = argc - i > 1;
  if (i == argc) copy(0, "-", 0);
  while (i < argc) {
    if (equal(argv[i], "-")) copy(0, "-", several);
    else {
      file = open(argv[i]);
      if (file < 0) {
        warn(argv[i], file);
        status = 1;
      } else {
        copy(file, argv[i], several);
        close(file);
      }
    }
    i = i + 1;
  }
  flush();
  return status;
}
