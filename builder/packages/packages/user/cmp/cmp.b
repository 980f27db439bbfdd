// cmp A B: says where two files differ first, "-" being the standard input. Ends
// with status 0 if they do not, 1 if they do, 2 if one could not be read.
var first[8192], first_length, first_next;
var second[8192], second_length, second_next;

must_open(name) {
  var file;
  if (equal(name, "-")) return 0;
  file = open(name);
  if (file >= 0) return file;
  warn(name, file);
  syscall(60, 2, 0, 0);
}

must_read(file, name, p) {
  var n;
  n = read(file, p, IO_SIZE);
  if (n >= 0) return n;
  warn(name, n);
  syscall(60, 2, 0, 0);
}

ended(name, byte) {
  io_say("cmp: EOF on ");
  io_say(name);
  if (byte == 0) io_say(" which is empty\n");
  else io_say(", after that the other goes on\n");
  return 1;
}

main(argc, argv) {
  var a, b, byte, line;
  io_program = "cmp";
  if (argc != 3) usage("cmp A B");
  a = must_open(argv[1]);
  b = must_open(argv[2]);
  line = 1;
  while (1) {
    if (first_next == first_length) {
      first_length = must_read(a, argv[1], first);
      first_next = 0;
    }
    if (second_next == second_length) {
      second_length = must_read(b, argv[2], second);
      second_next = 0;
    }
    if (first_length == 0 && second_length == 0) return 0;
    if (first_length == 0) return ended(argv[1], byte);
    if (second_length == 0) return ended(argv[2], byte);
    byte = byte + 1;
    if (first.[first_next] != second.[second_next]) {
      put_text(argv[1]);
      put(' ');
      put_text(argv[2]);
      put_text(" differ: byte ");
      put_number(byte, 1);
      put_text(", line ");
      put_number(line, 1);
      put('\n');
      flush();
      return 1;
    }
    if (first.[first_next] == '\n') line = line + 1;
    first_next = first_next + 1;
    second_next = second_next + 1;
  }
}
