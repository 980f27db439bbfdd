# b-scan.m: tokens; it follows b.m, whose last label runs into next.

# ==== tokens ====
# next: reads a token to r13, r14, r15.
:next
  xor_r13d,r13d               ; END
  cmp_rsi,r12
  je %return
  xor_eax,eax
  lodsb
  cmp_al,i8 " "               ; a blank, or a control character,
  jbe8 !next                  ; is between tokens
  mov_r13d,eax
  mov_r14,rsi
  dec_r14
  movzx_ecx,word[r14]         ; two characters
  cmp_ecx,i32 "//" 00 00
  jne8 !no_comment
:comment
  cmp_rsi,r12
  je8 !next
  lodsb
  cmp_al,i8 0A
  jne8 !comment
  jmp8 !next
:no_comment
  cmp_al,i8 22
  je %return                  ; the string is read by who needs it
  cmp_al,i8 "'"
  je %quote
  call %is_digit
  je8 !decimal
  call %is_letter
  je %name
  mov_edx,i32 &pairs
:pair                         ; one of the operators of two characters?
  mov_eax,[rdx]
  test_eax,eax
  jz %return
  add_rdx,i8 1'4
  cmp_eax,ecx
  jne8 !pair
  mov_r13d,eax
  inc_rsi
  ret

# A number: digits, or 0x and hexadecimal digits, up to 64 bits.
:decimal
  dec_rsi
  push_i8 1'10
  pop_rdi                     ; edi = the base
  cmp_ecx,i32 "0x" 00 00
  jne8 !decimal_base
  add_rsi,i8 1'2
  mov_edi,i32 4'16
:decimal_base
  xor_r15d,r15d               ; the value
:decimal_digit
  cmp_rsi,r12
  je %wrong                   ; no digit
  lodsb
  call %digit
  movzx_eax,al
  cmp_eax,edi
  jae %wrong                  ; no digit in this base
  push_rax
  mov_rax,r15
  mul_rdi
  jc %wrong                   ; more than 64 bits
  pop_rcx
  add_rax,rcx
  jc %wrong
  mov_r15,rax
  cmp_rsi,r12
  je8 !decimal_end
  mov_al,[rsi]
  call %is_letter
  je8 !decimal_digit
:decimal_end
  mov_r13d,i32 A_NUMBER
  ret

# 'c'
:quote
  call %character
  movzx_r15d,al
  cmp_rsi,r12
  je %wrong
  lodsb
  cmp_al,i8 "'"
  jne %wrong                  ; more than one character
  jmp8 !decimal_end

# A name: letters, digits and "_".
:name
  mov_r15,rsi
  sub_r15,r14                 ; its length so far
  cmp_rsi,r12
  je8 !name_end
  lodsb
  call %is_letter
  je8 !name
  dec_rsi
:name_end
  mov_r13d,i32 A_NAME
  xor_edx,edx
  mov_rcx,r15
  cmp_rcx,i8 1'8
  ja8 !name_long
:name_character               ; from the last to the first
  shl_rdx,i8 1'8
  mov_dl,[r14+rcx-1]
  dec_ecx
  jnz8 !name_character
:name_long
  mov_[i32],rdx NAME8
  ret

# is_digit, is_letter: set the zero flag if al is a digit; a letter, digit or "_".
:is_letter
  cmp_al,i8 "_"
  je8 !is_yes
  push_rax
  or_al,i8 1'0x20             ; a small letter
  sub_al,i8 "a"
  cmp_al,i8 1'25
  pop_rax
  jbe8 !is_yes
:is_digit
  cmp_al,i8 "0"
  jb8 !is_no
  cmp_al,i8 "9"
  ja8 !is_no
:is_yes
  cmp_eax,eax
:is_no                        ; after "below" or "above", the zero flag is not set
  ret

# character: reads one character of a string to al: itself, or after a backslash,
# n (0A), t (09), 0 (00), x and two digits, or a backslash or quote.
:character
  cmp_rsi,r12
  je %wrong
  lodsb
  cmp_al,i8 0A
  je %wrong                   ; the line ends
  cmp_al,i8 5C
  jne8 !character_end
  cmp_rsi,r12
  je %wrong
  lodsb
  cmp_al,i8 5C
  je8 !character_end
  cmp_al,i8 22
  je8 !character_end
  cmp_al,i8 "'"
  je8 !character_end
  mov_cl,al
  mov_al,i8 0A
  cmp_cl,i8 "n"
  je8 !character_end
  mov_al,i8 09
  cmp_cl,i8 "t"
  je8 !character_end
  mov_al,i8 00
  cmp_cl,i8 "0"
  je8 !character_end
  cmp_cl,i8 "x"
  jne %wrong
  lodsb
  call %digit
  shl_al,i8 1'4
  mov_cl,al
  lodsb
  call %digit
  or_al,cl
:character_end
  ret

# ==== output ====
# emit: puts the text at rax, up to a zero.
:emit
  push_rsi
  mov_rsi,rax
:emit_next
  lodsb
  test_al,al
  jz8 !emit_end
  call %put
  jmp8 !emit_next
:emit_end
  pop_rsi
  ret

# emit_number: the code that leaves the number rax.
:emit_number
  mov_rcx,rax
  shr_rcx,i8 1'32
  jnz8 !emit_number64
  mov_ecx,i32 &code_number
  jmp %primary_four
:emit_number64
  push_rax
  mov_eax,i32 &code_number64
  call %emit
  pop_rax
  call %put_number64
  jmp8 !put_line

# put_number64, put_number: 4'0x and eight digits, for the lower and the upper half
# of rax; for eax.
:put_number64
  push_rax
  call %put_number
  pop_rax
  shr_rax,i8 1'32
:put_number
  push_rax
  mov_eax,i32 &text_number
  call %emit
  pop_rax
  call %put_hex8
  mov_al,i8 " "
  jmp %put

# put_function: the character al, and the label of the function with the name rdx of
# length rcx, and edi parameters.
:put_function
  cmp_edi,i8 1'9
  ja %wrong                   ; too many
  push_rdi
  call %put_name
  pop_rax
  call %put_half
:put_line
  mov_al,i8 0A
  jmp8 !put

# label_of_table: defines the label of the table rdx. put_table: the character al,
# and that label.
:label_of_table
  mov_al,i8 ":"
:put_table
  mov_rcx,[rdx+8]
  mov_rdx,[rdx]
  call %put_name
  jmp8 !put_line

# put_name: the character al, the name rdx of length rcx, and a dot.
:put_name
  call %put
  mov_al,[rdx]
  inc_rdx
  dec_ecx
  jns8 !put_name
  mov_al,i8 "."
  jmp8 !put

# new_label: eax = a label.
:new_label
  inc_dword[i32] LABELS
  mov_eax,[i32] LABELS
  ret

# emit_jump: the code rcx, and the label eax.
:emit_jump
  push_rax
  mov_eax,ecx
  call %emit
  pop_rcx
  mov_al,i8 "%"
  jmp8 !put_label_of

# put_label: defines the label eax.
:put_label
  mov_ecx,eax
  mov_al,i8 ":"
:put_label_of
  call %put
  mov_al,i8 "."
  call %put
  mov_eax,ecx
  call %put_hex8
  jmp8 !put_line

# put_hex8: eax as eight digits. put_hex: al as two. put_half: al, 0 to F, as one.
# put: the character al. Only al and, in put_hex8, edx are changed.
:put_hex8
  push_i8 1'4
  pop_rdx
:put_hex8_next
  rol_eax,i8 1'8
  push_rax
  call %put_hex
  pop_rax
  dec_edx
  jnz8 !put_hex8_next
  ret
:put_hex
  push_rax
  shr_al,i8 1'4
  call %put_half
  pop_rax
  and_al,i8 0F
:put_half
  add_al,i8 "0"
  cmp_al,i8 "9"
  jbe8 !put
  add_al,i8 1'7               ; "A" to "F"
:put
  cmp_rbx,i32 OUT_END
  jae %wrong                  ; too much output
  mov_[rbx],al
  inc_rbx
  ret

# ==== what is written ====
:pairs
  ".[" 00 00 "==" 00 00 "!=" 00 00 "<=" 00 00 ">=" 00 00
  "&&" 00 00 "||" 00 00 "<<" 00 00 ">>" 00 00 4'0

# Each operator: its token; how strongly it binds; its code; 1 if its code is a jump
# over the right side.
:operators
  "||" 00 00     4'1  &code_jump_not_zero 4'1
  "&&" 00 00     4'2  &code_jump_zero     4'1
  "|" 00 00 00   4'3  &code_or            4'0
  "^" 00 00 00   4'4  &code_xor           4'0
  "&" 00 00 00   4'5  &code_and           4'0
  "==" 00 00     4'6  &code_equal         4'0
  "!=" 00 00     4'6  &code_not_equal     4'0
  "<" 00 00 00   4'7  &code_less          4'0
  "<=" 00 00     4'7  &code_at_most       4'0
  ">" 00 00 00   4'7  &code_greater       4'0
  ">=" 00 00     4'7  &code_at_least      4'0
  "<<" 00 00     4'8  &code_shift_left    4'0
  ">>" 00 00     4'8  &code_shift_right   4'0
  "+" 00 00 00   4'9  &code_add           4'0
  "-" 00 00 00   4'9  &code_subtract      4'0
  "*" 00 00 00   4'10 &code_multiply      4'0
  "/" 00 00 00   4'10 &code_divide        4'0
  "%" 00 00 00   4'10 &code_modulo        4'0
  4'0

:text_number        "4'0x" 00
:code_number        "b_number " 00
:code_number64      "b_number64 " 00
:code_table         "b_table " 00
:code_global        "b_global " 00
:code_local         "b_local " 00
:code_local_place   "b_local_place " 00
:code_load          "b_load" 0A 00
:code_load_byte     "b_load_byte" 0A 00
:code_store         "b_store" 0A 00
:code_store_byte    "b_store_byte" 0A 00
:code_index         "b_index" 0A 00
:code_index_byte    "b_index_byte" 0A 00
:code_push          "b_push" 0A 00
:code_pop           "b_pop" 0A 00
:code_zero_byte     "00" 0A 00
:code_call          "b_call " 00
:code_drop          "b_drop " 00
:code_enter         "b_enter" 0A 00
:code_variable      "b_variable" 0A 00
:code_return        "b_return" 0A 00
:code_return_zero   "b_zero b_return" 0A 00
:code_jump          "b_jump " 00
:code_jump_zero     "b_jump_zero " 00
:code_jump_not_zero "b_jump_not_zero " 00
:code_bool          "b_bool" 0A 00
:code_negate        "b_negate" 0A 00
:code_not           "b_not" 0A 00
:code_invert        "b_invert" 0A 00
:code_or            "b_or" 0A 00
:code_xor           "b_xor" 0A 00
:code_and           "b_and" 0A 00
:code_equal         "b_equal" 0A 00
:code_not_equal     "b_not_equal" 0A 00
:code_less          "b_less" 0A 00
:code_at_most       "b_at_most" 0A 00
:code_greater       "b_greater" 0A 00
:code_at_least      "b_at_least" 0A 00
:code_shift_left    "b_shift_left" 0A 00
:code_shift_right   "b_shift_right" 0A 00
:code_add           "b_add" 0A 00
:code_subtract      "b_subtract" 0A 00
:code_multiply      "b_multiply" 0A 00
:code_divide        "b_divide" 0A 00
:code_modulo        "b_modulo" 0A 00
