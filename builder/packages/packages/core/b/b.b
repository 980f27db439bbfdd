// b OUT IN...: the compiler of b.m once more, in its own language. Both write the
// same for every program, so this one, compiled by that one, compiles itself to what
// that one had made of it.
//
// One pass, no tree: code is written as the text is read. An expression leaves its
// value in rax; the left side of an operator waits on the stack. What is in rax may
// be an address for a while, until it is known whether something is stored there:
// see kind.

// ---- the input and its tokens ----
const END = 0;              // of the input
const NAME = 'a';
const NUMBER = '0';         // or 'c'
const STRING = '"';         // of which nothing more has been read
                            // operators are their one or two characters
const BYTE_INDEX = 0x5b2e;  // .[

const TEXT_SIZE = 8388608;    // bytes
var text[1048576], text_length;
var at;                     // the next character
var token;
var token_at, token_length; // where it is
var token_value;            // of a number

table pairs {               // .[ == != <= >= && || << >>
  0x5b2e, 0x3d3d, 0x3d21, 0x3d3c, 0x3d3e, 0x2626, 0x7c7c, 0x3c3c, 0x3e3e, 0
}

// fail says what is wrong in the line that is being read, and ends the program.
fail(what) {
  var i, line;
  line = 1;
  while (i < at) {
    if (text.[i] == '\n') line = line + 1;
    i = i + 1;
  }
  io_out_length = 0;
  put_text("b: line ");
  put_number(line, 1);
  put_text(": ");
  put_text(what);
  put('\n');
  write(2, io_out, io_out_length);
  syscall(60, 1, 0, 0);
}

digit(c) { return c >= '0' && c <= '9'; }

letter(c) {
  return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || digit(c);
}

digit_value(c) {
  if (digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  fail("not a digit");
}

// take reads the next character, which has to be there.
take() {
  if (at == text_length) fail("the text ends too early");
  at = at + 1;
  return text.[at - 1];
}

// character reads one character of a string: itself, or what a backslash says.
character() {
  var c;
  c = take();
  if (c == '\n') fail("the line ends in a string");
  if (c != '\\') return c;
  c = take();
  if (c == '\\' || c == '"' || c == '\'') return c;
  if (c == 'n') return '\n';
  if (c == 't') return '\t';
  if (c == '0') return 0;
  if (c != 'x') fail("no such character after a backslash");
  c = digit_value(take()) << 4;
  return c | digit_value(take());
}

// read_number reads a number of up to 64 bits, the base first.
read_number() {
  var base, value, more, high;
  base = 10;
  at = token_at;
  if (text.[at] == '0' && text.[at + 1] == 'x') {
    base = 16;
    at = at + 2;
  }
  token_value = 0;
  more = 1;
  while (more) {
    value = digit_value(take());
    if (value >= base) fail("not a digit");
    // The lower and the upper half by themselves, to see what is lost.
    value = value + (token_value & 0xffffffff) * base;
    high = (token_value >> 32) * base + (value >> 32);
    if (high >> 32) fail("more than 64 bits");
    token_value = high << 32 | value & 0xffffffff;
    more = at < text_length && letter(text.[at]);
  }
  token = NUMBER;
}

read_character() {
  token_value = character();
  if (take() != '\'') fail("more than one character");
  token = NUMBER;
}

read_name() {
  while (at < text_length && letter(text.[at])) at = at + 1;
  token_length = at - token_at;
  token = NAME;
}

// skip goes to the next token, over blanks and comments.
skip() {
  while (at < text_length) {
    if (text.[at] == '/' && text.[at + 1] == '/')
      while (at < text_length && text.[at] != '\n') at = at + 1;
    else if (text.[at] > ' ') return;
    else at = at + 1;
  }
}

// next reads a token.
next() {
  var i, pair;
  skip();
  token = END;
  token_at = at;
  if (at == text_length) return;
  token = take();
  if (token == STRING) return;
  if (token == '\'') return read_character();
  if (digit(token)) return read_number();
  if (letter(token)) return read_name();
  pair = token | text.[at] << 8;
  while (pairs[i]) {
    if (pairs[i] == pair) {
      at = at + 1;
      token = pair;
      return;
    }
    i = i + 1;
  }
}

expect(t, what) {
  if (token != t) fail(what);
  next();
}

expect_semicolon() { expect(';', "expected ;"); }

is_name() { if (token != NAME) fail("expected a name"); }

next_name() {
  next();
  is_name();
}

// is_word says whether the token is that name.
is_word(word) {
  var i;
  if (token != NAME) return 0;
  while (i < token_length) {
    if (text.[token_at + i] != word.[i]) return 0;
    i = i + 1;
  }
  return word.[i] == 0;
}

// ---- names ----
const CONSTANT = 0;         // and its value
const GLOBAL = 1;           // and its address
const LOCAL = 2;            // and its distance from rbp
const TABLE = 3;

const NAMES = 65536;
var name_at[NAMES], name_length[NAMES], name_what[NAMES], name_value[NAMES];
var names;                  // so many
var scope;                  // from this one on, names must differ from a new one

// find returns the last declaration of a name, or -1.
find(where, size) {
  var n, i;
  n = names;
  while (n > 0) {
    n = n - 1;
    if (name_length[n] == size) {
      i = 0;
      while (i < size && text.[name_at[n] + i] == text.[where + i]) i = i + 1;
      if (i == size) return n;
    }
  }
  return -1;
}

declare(where, size, what, value) {
  if (find(where, size) >= scope) fail("declared twice");
  if (names == NAMES) fail("too many names");
  name_at[names] = where;
  name_length[names] = size;
  name_what[names] = what;
  name_value[names] = value;
  names = names + 1;
}

// ---- the output ----
const CODE_SIZE = 16777216;
var code[2097152], code_length;
var labels;                 // so many have been given out

emit(c) {
  if (code_length == CODE_SIZE) fail("too much output");
  code.[code_length] = c;
  code_length = code_length + 1;
}

emit_text(t) {
  var i;
  while (t.[i]) {
    emit(t.[i]);
    i = i + 1;
  }
}

emit_hex(n, digits) {
  if (digits > 1) emit_hex(n >> 4, digits - 1);
  n = n & 15;
  if (n > 9) n = n + 7;
  emit('0' + n);
}

emit_number(n) {
  emit_text("4'0x");
  emit_hex(n, 8);
  emit(' ');
}

emit_number64(n) {
  emit_number(n);
  emit_number(n >> 32);
  emit('\n');
}

// emit_code writes code and the four bytes that belong to it.
emit_code(t, n) {
  emit_text(t);
  emit_number(n);
  emit('\n');
}

emit_value(n) {
  if (n >> 32) {
    emit_text("b_number64 ");
    emit_number64(n);
  } else emit_code("b_number ", n);
}

// emit_name writes a character, the name at where, and a dot.
emit_name(c, where, size) {
  var i;
  emit(c);
  while (i < size) {
    emit(text.[where + i]);
    i = i + 1;
  }
  emit('.');
}

// emit_function writes the label of a function with so many parameters.
emit_function(c, where, size, parameters) {
  if (parameters > 9) fail("more than 9 parameters");
  emit_name(c, where, size);
  emit_hex(parameters, 1);
  emit('\n');
}

new_label() {
  labels = labels + 1;
  return labels;
}

emit_label(c, label) {
  emit(c);
  emit('.');
  emit_hex(label, 8);
  emit('\n');
}

emit_jump(t, label) {
  emit_text(t);
  emit_label('%', label);
}

// ---- expressions ----
var kind;                   // what the code so far leaves in rax: 0 for a value, 1 for
                            // the address of a byte, 8 for the address of a word

// strength says how strongly an operator binds; 0 is no operator.
strength(t) {
  if (t == 0x7c7c) return 1;
  if (t == 0x2626) return 2;
  if (t == '|') return 3;
  if (t == '^') return 4;
  if (t == '&') return 5;
  if (t == 0x3d3d || t == 0x3d21) return 6;
  if (t == '<' || t == 0x3d3c || t == '>' || t == 0x3d3e) return 7;
  if (t == 0x3c3c || t == 0x3e3e) return 8;
  if (t == '+' || t == '-') return 9;
  if (t == '*' || t == '/' || t == '%') return 10;
  return 0;
}

operator(t) {
  if (t == '|') return "b_or\n";
  if (t == '^') return "b_xor\n";
  if (t == '&') return "b_and\n";
  if (t == 0x3d3d) return "b_equal\n";
  if (t == 0x3d21) return "b_not_equal\n";
  if (t == '<') return "b_less\n";
  if (t == 0x3d3c) return "b_at_most\n";
  if (t == '>') return "b_greater\n";
  if (t == 0x3d3e) return "b_at_least\n";
  if (t == 0x3c3c) return "b_shift_left\n";
  if (t == 0x3e3e) return "b_shift_right\n";
  if (t == '+') return "b_add\n";
  if (t == '-') return "b_subtract\n";
  if (t == '*') return "b_multiply\n";
  if (t == '/') return "b_divide\n";
  return "b_modulo\n";
}

// value makes a value of what is in rax.
value() {
  if (kind == 8) emit_text("b_load\n");
  if (kind == 1) emit_text("b_load_byte\n");
  kind = 0;
}

// call reads the arguments of a function, and calls it.
call(where, size) {
  var arguments, more;
  next();
  more = token != ')';
  while (more) {
    expression();
    emit_text("b_push\n");
    arguments = arguments + 1;
    more = token == ',';
    if (more) next();
  }
  expect(')', "expected )");
  kind = 0;
  emit_text("b_call ");
  emit_function('%', where, size, arguments);
  emit_code("b_drop ", arguments * 8);
}

// string: it stands where it is used. A call over it leaves its address on the stack.
string() {
  var label;
  label = new_label();
  emit_jump("b_call ", label);
  while (at < text_length && text.[at] != '"') {
    emit_hex(character(), 2);
    emit(' ');
  }
  take();
  emit_text("00\n");
  emit_label(':', label);
  emit_text("b_pop\n");
  next();
}

name() {
  var where, size, n, v;
  where = token_at;
  size = token_length;
  n = find(where, size);
  next();
  if (token == '(') return call(where, size);
  if (n < 0) fail("not declared");
  v = name_value[n];
  if (name_what[n] == CONSTANT) return emit_value(v);
  if (name_what[n] == TABLE) {
    emit_text("b_table ");
    emit_name('&', name_at[n], name_length[n]);
    return emit('\n');
  }
  if (token != '=') {
    if (name_what[n] == GLOBAL) return emit_code("b_global ", v);
    return emit_code("b_local ", v);
  }
  kind = 8;
  if (name_what[n] == GLOBAL) return emit_value(v);
  emit_code("b_local_place ", v);
}

primary() {
  kind = 0;
  if (token == NUMBER) {
    emit_value(token_value);
    return next();
  }
  if (token == STRING) return string();
  if (token == '(') return condition();
  is_name();
  name();
}

unary_operator(t) {
  next();
  unary();
  value();
  emit_text(t);
}

unary() {
  var bytes;
  if (token == '-') return unary_operator("b_negate\n");
  if (token == '!') return unary_operator("b_not\n");
  if (token == '~') return unary_operator("b_invert\n");
  primary();
  while (token == '[' || token == BYTE_INDEX) {
    bytes = token == BYTE_INDEX;
    value();
    emit_text("b_push\n");
    next();
    expression();
    expect(']', "expected ]");
    if (bytes) {
      emit_text("b_index_byte\n");
      kind = 1;
    } else {
      emit_text("b_index\n");
      kind = 8;
    }
  }
}

// rest reads operators that bind at least so strongly, and their right sides.
rest(least) {
  var t, label;
  value();
  while (strength(token) >= least) {
    t = token;
    if (strength(t) <= 2) {
      label = new_label();
      if (strength(t) == 1) emit_jump("b_jump_not_zero ", label);
      else emit_jump("b_jump_zero ", label);
      next();
      unary();
      rest(strength(t) + 1);
      emit_label(':', label);
      emit_text("b_bool\n");
    } else {
      emit_text("b_push\n");
      next();
      unary();
      rest(strength(t) + 1);
      emit_text(operator(t));
    }
  }
}

expression() {
  var place;
  unary();
  if (token != '=') return rest(1);
  if (kind == 0) fail("nothing can be stored here");
  place = kind;
  emit_text("b_push\n");
  next();
  expression();
  if (place == 8) emit_text("b_store\n");
  else emit_text("b_store_byte\n");
  kind = 0;
}

condition() {
  expect('(', "expected (");
  expression();
  expect(')', "expected )");
}

// ---- statements ----
var loop;                   // the label of the loop's beginning, or 0; loop + 1 is its end

if_statement() {
  var over, taken;
  next();
  condition();
  over = new_label();
  emit_jump("b_jump_zero ", over);
  statement();
  if (is_word("else")) {
    taken = new_label();
    emit_jump("b_jump ", taken);
    emit_label(':', over);
    over = taken;
    next();
    statement();
  }
  emit_label(':', over);
}

while_statement() {
  var outer, begin, end;
  next();
  outer = loop;
  loop = begin = new_label();
  emit_label(':', begin);
  end = new_label();
  condition();
  emit_jump("b_jump_zero ", end);
  statement();
  emit_jump("b_jump ", begin);
  emit_label(':', end);
  loop = outer;
}

return_statement() {
  next();
  if (token == ';') emit_text("b_zero b_return\n");
  else {
    expression();
    emit_text("b_return\n");
  }
  expect_semicolon();
}

leave_loop(label) {
  if (loop == 0) fail("not in a loop");
  emit_jump("b_jump ", label);
  next();
  expect_semicolon();
}

block() {
  next();
  while (token != '}') statement();
  next();
}

statement() {
  if (token == ';') return next();
  if (token == '{') return block();
  if (is_word("if")) return if_statement();
  if (is_word("while")) return while_statement();
  if (is_word("return")) return return_statement();
  if (is_word("break")) return leave_loop(loop + 1);
  if (is_word("continue")) return leave_loop(loop);
  expression();
  expect_semicolon();
}

// ---- programs ----
const MEMORY = 0x10000000;
const MEMORY_END = 0x14000000;
var memory;                 // the end of the global variables

// constant reads a number, one with a minus, or the name of one.
constant() {
  var n, minus;
  minus = token == '-';
  if (minus) next();
  n = token_value;
  if (token != NUMBER) {
    is_name();
    n = find(token_at, token_length);
    if (n < 0) fail("not declared");
    if (name_what[n] != CONSTANT) fail("not a number");
    n = name_value[n];
  }
  next();
  if (minus) return -n;
  return n;
}

const_declaration() {
  var where, size;
  next_name();
  where = token_at;
  size = token_length;
  next();
  expect('=', "expected =");
  declare(where, size, CONSTANT, constant());
  expect_semicolon();
}

global_declaration() {
  var where, size, what, n, more;
  more = 1;
  while (more) {
    next_name();
    where = token_at;
    size = token_length;
    what = GLOBAL;
    n = 1;
    next();
    if (token == '[') {
      what = CONSTANT;
      next();
      n = constant();
      if (n < 0 || n >= 0x800000) fail("memory is full");
      expect(']', "expected ]");
    }
    if (memory + n * 8 > MEMORY_END) fail("memory is full");
    declare(where, size, what, memory);
    memory = memory + n * 8;
    more = token == ',';
  }
  expect_semicolon();
}

table_declaration() {
  var more;
  next_name();
  declare(token_at, token_length, TABLE, 0);
  emit_name(':', token_at, token_length);
  emit('\n');
  next();
  expect('{', "expected {");
  more = 1;
  while (more) {
    emit_number64(constant());
    more = token == ',';
    if (more) next();
  }
  expect('}', "expected }");
}

// parameters reads the names up to ")", and returns how many there are.
parameters() {
  var n, more, i;
  expect('(', "expected (");
  more = token != ')';
  while (more) {
    is_name();
    declare(token_at, token_length, LOCAL, 0);
    n = n + 1;
    next();
    more = token == ',';
    if (more) next();
  }
  expect(')', "expected )");
  // Above rbp are the old one, the place to return to, and then the last argument,
  // up to the first.
  while (i < n) {
    name_value[scope + i] = 8 + 8 * (n - i);
    i = i + 1;
  }
  return n;
}

function() {
  var where, size, n, more;
  where = token_at;
  size = token_length;
  scope = names;
  loop = 0;
  next();
  n = parameters();
  emit_function(':', where, size, n);
  emit_text("b_enter\n");
  expect('{', "expected {");
  n = 0;
  while (is_word("var")) {
    more = 1;
    while (more) {
      next_name();
      n = n - 8;
      declare(token_at, token_length, LOCAL, n);
      emit_text("b_variable\n");
      next();
      more = token == ',';
    }
    expect_semicolon();
  }
  while (token != '}') statement();
  emit_text("b_zero b_return\n");
  names = scope;
  scope = 0;
  next();
}

program() {
  memory = MEMORY;
  next();
  while (token != END) {
    is_name();
    if (is_word("const")) const_declaration();
    else if (is_word("var")) global_declaration();
    else if (is_word("table")) table_declaration();
    else function();
  }
}

read_all(path) {
  var file, n;
  file = open(path);
  if (file < 0) return file;
  while ((n = read(file, text + text_length, TEXT_SIZE - text_length)) > 0)
    text_length = text_length + n;
  close(file);
  if (text_length == TEXT_SIZE) return -28;
  return n;
}

main(argc, argv) {
  var i, file, error;
  io_program = "b";
  if (argc < 3) usage("b OUT IN...");
  i = 2;
  while (i < argc) {
    error = read_all(argv[i]);
    if (error < 0) {
      warn(argv[i], error);
      return 1;
    }
    i = i + 1;
  }
  program();
  file = create(argv[1], 0);
  error = file;
  if (file >= 0) error = write(file, code, code_length);
  if (error < 0) {
    warn(argv[1], error);
    return 1;
  }
  return 0;
}
