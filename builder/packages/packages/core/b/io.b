// io.b: what the programs in b share: system calls, output through a buffer, and
// messages. It comes before the program.
//
// A text is the address of bytes that end with a zero. A file is a number that open
// or create has returned; 0 is the standard input, 1 the standard output, 2 the one
// for messages. Below 0 is an error, the number of Linux's with a minus.

const IO_SIZE = 65536;      // bytes of each buffer
var io_out[8192];           // what put has not written yet,
var io_out_length;          // so many bytes
var io_program;             // the name of this program, for messages

// ---- Linux ----

read(file, p, n) { return syscall(0, file, p, n); }

open(name) { return syscall(2, name, 0, 0); }

close(file) { return syscall(3, file, 0, 0); }

// create opens a file to write it: 0x241 is O_WRONLY, O_CREAT and O_TRUNC, and 0x441
// has O_APPEND instead of the last; 0x1b6 is the mode rw-rw-rw-, less the umask.
create(name, append) {
  if (append) return syscall(2, name, 0x441, 0x1b6);
  return syscall(2, name, 0x241, 0x1b6);
}

// write writes all n bytes, and returns 0, or an error.
write(file, p, n) {
  var done;
  while (n > 0) {
    done = syscall(1, file, p, n);
    if (done < 0) return done;
    if (done == 0) return -5;
    p = p + done;
    n = n - done;
  }
  return 0;
}

// ---- texts ----

length(text) {
  var n;
  while (text.[n]) n = n + 1;
  return n;
}

equal(a, b) {
  var i;
  while (a.[i] == b.[i]) {
    if (a.[i] == 0) return 1;
    i = i + 1;
  }
  return 0;
}

// ---- output ----

flush() {
  var error;
  error = write(1, io_out, io_out_length);
  io_out_length = 0;
  if (error < 0) {
    warn("write error", error);
    syscall(60, 1, 0, 0);
  }
}

put(c) {
  if (io_out_length == IO_SIZE) flush();
  io_out.[io_out_length] = c;
  io_out_length = io_out_length + 1;
}

put_bytes(p, n) {
  var i;
  while (i < n) {
    put(p.[i]);
    i = i + 1;
  }
}

put_text(text) { put_bytes(text, length(text)); }

// put_number writes n, which is not below 0, with blanks before it up to width.
put_number(n, width) {
  if (n >= 10) put_number(n / 10, width - 1);
  else while (width > 1) {
    put(' ');
    width = width - 1;
  }
  put('0' + n % 10);
}

put_digit(n) {
  if (n > 9) n = n + 39;
  put('0' + n);
}

// put_hex writes the low digits of n, in hexadecimal.
put_hex(n, digits) {
  if (digits > 1) put_hex(n >> 4, digits - 1);
  put_digit(n & 15);
}

// ---- messages and the end ----

io_say(text) { write(2, text, length(text)); }

// warn says what is wrong with what.
warn(what, error) {
  io_say(io_program);
  io_say(": ");
  io_say(what);
  if (error == -2) io_say(": No such file or directory\n");
  else if (error == -13) io_say(": Permission denied\n");
  else if (error == -21) io_say(": Is a directory\n");
  else if (error == -28) io_say(": No space left on device\n");
  else io_say(": error\n");
}

// usage says how the program is called, and ends it.
usage(text) {
  io_say("usage: ");
  io_say(text);
  io_say("\n");
  syscall(60, 2, 0, 0);
}
