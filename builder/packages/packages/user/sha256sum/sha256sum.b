// sha256sum [FILE...]: writes the SHA-256 digest (FIPS 180-4) of each file, two
// blanks, and its name. "-", or no FILE, is the standard input.
//
// sha256sum -c [FILE...]: reads such lines, and says for each whether the file still
// has that digest.
//
// Ends with status 1 if a file could not be read or a digest is another. Names with
// a line end in them are not supported.
const MASK = 0xffffffff;

// The first 32 bits of the fractions of the cube roots of the first 64 primes.
table k {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
  0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
  0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
  0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
  0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
  0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
}

// The same of the square roots of the first 8.
table initial {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
}

var h[8];                   // the digest so far
var w[64];                  // the message schedule
var buffer[8192];           // IO_SIZE bytes
var tail[16];               // the last one or two blocks
var line[1024], line_length;
var in[8192], in_length, in_next;
var status;

// block takes 64 bytes into the digest. Sums have up to 35 bits until they are
// masked. Twice the same 32 bits beside each other make a rotation a shift.
block(p) {
  var i, x, y, a, b, c, d, e, f, g, z, t;
  while (i < 16) {
    w[i] = p.[0] << 24 | p.[1] << 16 | p.[2] << 8 | p.[3];
    p = p + 4;
    i = i + 1;
  }
  while (i < 64) {
    x = w[i - 15];
    y = x << 32 | x;
    t = y >> 7 ^ y >> 18 ^ x >> 3;
    x = w[i - 2];
    y = x << 32 | x;
    w[i] = (t & MASK) + ((y >> 17 ^ y >> 19 ^ x >> 10) & MASK) + w[i - 7] + w[i - 16] & MASK;
    i = i + 1;
  }
  a = h[0]; b = h[1]; c = h[2]; d = h[3];
  e = h[4]; f = h[5]; g = h[6]; z = h[7];
  i = 0;
  while (i < 64) {
    y = e << 32 | e;
    t = z + ((y >> 6 ^ y >> 11 ^ y >> 25) & MASK) + (e & f ^ (e ^ MASK) & g) + k[i] + w[i];
    y = a << 32 | a;
    x = ((y >> 2 ^ y >> 13 ^ y >> 22) & MASK) + (a & b ^ a & c ^ b & c);
    z = g;
    g = f;
    f = e;
    e = d + t & MASK;
    d = c;
    c = b;
    b = a;
    a = t + x & MASK;
    i = i + 1;
  }
  h[0] = h[0] + a & MASK;
  h[1] = h[1] + b & MASK;
  h[2] = h[2] + c & MASK;
  h[3] = h[3] + d & MASK;
  h[4] = h[4] + e & MASK;
  h[5] = h[5] + f & MASK;
  h[6] = h[6] + g & MASK;
  h[7] = h[7] + z & MASK;
}

// fill reads until the buffer is full or the file ends.
fill(file) {
  var n, got;
  while (n < IO_SIZE) {
    got = read(file, buffer + n, IO_SIZE - n);
    if (got < 0) return got;
    if (got == 0) return n;
    n = n + got;
  }
  return n;
}

// finish takes the last n bytes at p, fewer than 64, and the length of the whole.
finish(p, n, size) {
  var i, end;
  while (i < 128) {
    tail.[i] = 0;
    if (i < n) tail.[i] = p.[i];
    i = i + 1;
  }
  tail.[n] = 0x80;
  end = 64;
  if (n > 55) end = 128;
  i = 0;
  while (i < 8) {
    tail.[end - 1 - i] = size * 8 >> i * 8;
    i = i + 1;
  }
  block(tail);
  if (end == 128) block(tail + 64);
}

// digest makes h the digest of a file, and returns 0, or says what is wrong.
digest(file, name) {
  var i, n, size;
  while (i < 8) {
    h[i] = initial[i];
    i = i + 1;
  }
  while (1) {
    n = fill(file);
    if (n < 0) {
      warn(name, n);
      return n;
    }
    size = size + n;
    i = 0;
    while (n - i >= 64) {
      block(buffer + i);
      i = i + 64;
    }
    if (n < IO_SIZE) {
      finish(buffer + i, n - i, size);
      return 0;
    }
  }
}

digest_of(name) {
  var file, error;
  if (equal(name, "-")) return digest(0, name);
  file = open(name);
  if (file < 0) {
    warn(name, file);
    return file;
  }
  error = digest(file, name);
  close(file);
  return error;
}

show(name) {
  var i;
  if (digest_of(name) < 0) {
    status = 1;
    return;
  }
  while (i < 8) {
    put_hex(h[i], 8);
    i = i + 1;
  }
  put_text("  ");
  put_text(name);
  put('\n');
}

// read_line reads a line without its end, up to 8191 bytes; 0 at the end of the file.
read_line(file, name) {
  line_length = 0;
  while (1) {
    if (in_next == in_length) {
      in_next = 0;
      in_length = read(file, in, IO_SIZE);
      if (in_length < 0) {
        warn(name, in_length);
        status = 1;
        in_length = 0;
      }
      if (in_length == 0) {
        line.[line_length] = 0;
        return line_length > 0;
      }
    }
    in_next = in_next + 1;
    if (in.[in_next - 1] == '\n') {
      line.[line_length] = 0;
      return 1;
    }
    if (line_length < 8191) {
      line.[line_length] = in.[in_next - 1];
      line_length = line_length + 1;
    }
  }
}

value(c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// matches compares h with the 64 digits of line.
matches() {
  var i;
  while (i < 64) {
    if (value(line.[i]) != (h[i / 8] >> 28 - i % 8 * 4 & 15)) return 0;
    i = i + 1;
  }
  return 1;
}

well_formed() {
  var i;
  while (i < 64) {
    if (value(line.[i]) < 0) return 0;
    i = i + 1;
  }
  return line.[64] == ' ' && (line.[65] == ' ' || line.[65] == '*') && line.[66];
}

check(file, name) {
  var lines;
  while (read_line(file, name)) {
    if (!well_formed()) {
      warn("not a line of a digest and a name", 0);
      status = 1;
      continue;
    }
    lines = lines + 1;
    put_text(line + 66);
    if (digest_of(line + 66) < 0) {
      put_text(": FAILED open or read\n");
      status = 1;
    } else if (matches()) put_text(": OK\n");
    else {
      put_text(": FAILED\n");
      status = 1;
    }
  }
  if (lines == 0) {
    warn("no lines of a digest and a name", 0);
    status = 1;
  }
}

check_of(name) {
  var file;
  if (equal(name, "-")) return check(0, name);
  file = open(name);
  if (file < 0) {
    warn(name, file);
    status = 1;
    return;
  }
  check(file, name);
  close(file);
}

main(argc, argv) {
  var i, checking;
  io_program = "sha256sum";
  i = 1;
  if (argc > 1) checking = equal(argv[1], "-c");
  i = i + checking;
  if (i == argc) {
    if (checking) check(0, "-");
    else show("-");
  }
  while (i < argc) {
    if (checking) check_of(argv[i]);
    else show(argv[i]);
    i = i + 1;
  }
  flush();
  return status;
}
