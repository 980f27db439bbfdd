// wc [-lwc] [FILE...]: counts the lines, words and bytes of each file, or what the
// letters choose, and of all of them together if there are several. "-", or no FILE,
// is the standard input. A word is bytes between blanks (20, and 09 to 0D). Columns
// are as wide as the largest number needs, if all of the files are ordinary ones,
// and 7 otherwise. Ends with status 1 if a file could not be read.
const REGULAR = 0x8000;     // of a file's type, 0xf000 in its mode

var buffer[8192];           // IO_SIZE bytes
var stat[18];               // what Linux says of a file: its mode and size are in it
var show_lines, show_words, show_bytes;
var lines, words, bytes;
var all_lines, all_words, all_bytes;
var width, status;

report(l, w, b, name) {
  var before;
  if (show_lines) {
    put_number(l, width);
    before = 1;
  }
  if (show_words) {
    if (before) put(' ');
    put_number(w, width);
    before = 1;
  }
  if (show_bytes) {
    if (before) put(' ');
    put_number(b, width);
  }
  if (name) {
    put(' ');
    put_text(name);
  }
  put('\n');
}

count(file, name) {
  var n, i, c, word;
  lines = words = bytes = 0;
  while ((n = read(file, buffer, IO_SIZE)) > 0) {
    bytes = bytes + n;
    i = 0;
    while (i < n) {
      c = buffer.[i];
      if (c == '\n') lines = lines + 1;
      if (c == ' ' || c >= 9 && c <= 13) word = 0;
      else if (!word) {
        word = 1;
        words = words + 1;
      }
      i = i + 1;
    }
  }
  if (n < 0) {
    warn(name, n);
    status = 1;
  }
  all_lines = all_lines + lines;
  all_words = all_words + words;
  all_bytes = all_bytes + bytes;
}

// measure looks at a file, for width: syscall 4 is stat, 5 is fstat.
measure(name, total) {
  var error;
  if (equal(name, "-")) error = syscall(5, 0, stat, 0);
  else error = syscall(4, name, stat, 0);
  if (error < 0) return total;
  if ((stat[3] & 0xf000) == REGULAR) return total + stat[6];
  width = 7;
  return total;
}

// widen makes room for the digits of n.
widen(n) {
  var digits;
  digits = 1;
  while (n > 9) {
    n = n / 10;
    digits = digits + 1;
  }
  if (digits > width) width = digits;
}

options(text) {
  var i;
  i = 1;
  while (text.[i]) {
    if (text.[i] == 'l') show_lines = 1;
    else if (text.[i] == 'w') show_words = 1;
    else if (text.[i] == 'c') show_bytes = 1;
    else usage("wc [-lwc] [FILE...]");
    i = i + 1;
  }
}

file_arguments(argc, argv, i) {
  var file;
  while (i < argc) {
    if (equal(argv[i], "-")) {
      count(0, "-");
      report(lines, words, bytes, "-");
    } else {
      file = open(argv[i]);
      if (file < 0) {
        warn(argv[i], file);
        status = 1;
      } else {
        count(file, argv[i]);
        report(lines, words, bytes, argv[i]);
        close(file);
      }
    }
    i = i + 1;
  }
}

main(argc, argv) {
  var i, first, total;
  io_program = "wc";
  first = 1;
  while (first < argc && argv[first].[0] == '-' && argv[first].[1]) {
    options(argv[first]);
    first = first + 1;
  }
  if (show_lines + show_words + show_bytes == 0)
    show_lines = show_words = show_bytes = 1;
  width = 1;
  if (show_lines + show_words + show_bytes > 1 || argc - first > 1) {
    if (first == argc) total = measure("-", 0);
    i = first;
    while (i < argc) {
      total = measure(argv[i], total);
      i = i + 1;
    }
    widen(total);
  }
  if (first == argc) {
    count(0, "-");
    report(lines, words, bytes, 0);
  }
  file_arguments(argc, argv, first);
  if (argc - first > 1) report(all_lines, all_words, all_bytes, "total");
  flush();
  return status;
}
