# b OUT IN...: a compiler for b, a small language without types. Its output is in
# the language of m, and needs the definitions of b-x86-64.m. The language is
# specified in builder/packages/README.md.
#
# One pass, no tree: code is written as the text is read. An expression leaves its
# value in rax; the left side of an operator waits on the stack. What is in rax may
# be an address for a while, until it is known whether something is stored there:
# see KIND.
#
#   rsi  next character of the input      rbx  next character of the output
#   r12  end of the input
#   r13  the token: 0 at the end, "a" for a name, "0" for a number or 'c', the
#        double quote for a string, of which nothing more has been read, and for
#        operators their one or two characters
#   r14  the first character of the token
#   r15  the length of a name; the value of a number
#   rbp  KIND: what the code so far leaves in rax: 0 for a value, 1 for the address
#        of a byte, 8 for the address of a word
def LAST     4'0x10000000     ; the end of the table
def SCOPE    4'0x10000008     ; where names begin that must differ from a new one
def NAME8    4'0x10000010     ; the token, if it is a name of at most 8 characters
def LABELS   4'0x10000018     ; so many labels have been given out
def LOOP     4'0x10000020     ; the label of the loop's beginning, or 0; LOOP + 1 is its end
def MEMORY   4'0x10000028     ; the end of the global variables
def COUNT    4'0x10000030     ; of parameters or variables of a function
def TABLE    4'0x10000040     ; 32 bytes for each name: its address and length; what it is:
                              ;   0 a number, 1 a global variable, 2 a local one, 3 a table;
                              ; and its value, its address, or its distance from rbp
def TABLE_FULL 4'0x10200040   ; 65,536 names
def OUT_END  4'0x13800000
# tokens
def END        4'0
def A_NAME     "a" 00 00 00
def A_NUMBER   "0" 00 00 00
def A_STRING   22 00 00 00
def T_OPEN     "(" 00 00 00
def T_CLOSE    ")" 00 00 00
def T_BEGIN    "{" 00 00 00
def T_FINISH   "}" 00 00 00
def T_INDEX    "[" 00 00 00
def T_BYTE     ".[" 00 00
def T_INDEXED  "]" 00 00 00
def T_COMMA    "," 00 00 00
def T_SEMI     ";" 00 00 00
def T_IS       "=" 00 00 00
def T_MINUS    "-" 00 00 00
def T_NOT      "!" 00 00 00
def T_INVERT   "~" 00 00 00

# ==== programs: constants, variables, tables and functions ====
:main
  mov_qword[i32],i32 LAST TABLE
  mov_qword[i32],i32 SCOPE TABLE
  mov_qword[i32],i32 MEMORY 4'0x10000000
  call %next
:top
  cmp_r13d,i32 END
  je %return
  call %is_name
  mov_rax,[i32] NAME8
  mov_rcx,i64 "const" 00 00 00
  cmp_rax,rcx
  je %top_const
  mov_rcx,i64 "var" 00 00 00 00 00
  cmp_rax,rcx
  je %top_var
  mov_rcx,i64 "table" 00 00 00
  cmp_rax,rcx
  je %top_table
  jmp %top_function

# const NAME = CONSTANT ;
:top_const
  call %next_name
  push_r14
  push_r15
  call %next
  mov_eax,i32 T_IS
  call %expect
  call %constant
  mov_rcx,rax                 ; its value
  xor_eax,eax                 ; a number
  pop_r15
  pop_r14
  call %declare
  mov_eax,i32 T_SEMI
  call %expect
  jmp %top

# var NAME , NAME [ CONSTANT ] ;
:top_var
  call %next_name
  push_r14
  push_r15
  call %next
  mov_rdx,[i32] MEMORY        ; here it is
  push_rdx
  add_rdx,i8 1'8
  cmp_r13d,i32 T_INDEX
  mov_eax,i32 4'1             ; a global variable
  jne8 !top_var_room
  call %next
  call %constant
  cmp_rax,i32 4'0x800000
  jae %wrong                  ; more than all memory
  pop_rdx
  push_rdx
  lea_rdx,[rdx+rax*8]
  push_rdx
  mov_eax,i32 T_INDEXED
  call %expect
  pop_rdx
  xor_eax,eax                 ; a number: the address
:top_var_room
  cmp_rdx,i32 4'0x14000000
  ja %wrong                   ; memory is full
  mov_[i32],rdx MEMORY
  pop_rcx
  pop_r15
  pop_r14
  call %declare
  cmp_r13d,i32 T_COMMA
  je %top_var
  mov_eax,i32 T_SEMI
  call %expect
  jmp %top

# table NAME { CONSTANT , ... }
:top_table
  call %next_name
  push_i8 1'3
  pop_rax                     ; a table
  call %declare
  call %label_of_table
  call %next
  mov_eax,i32 T_BEGIN
:top_table_next
  call %expect
  call %constant
  call %put_number64
  call %put_line
  mov_eax,i32 T_COMMA
  cmp_r13d,eax
  je8 !top_table_next
  mov_eax,i32 T_FINISH
  call %expect
  jmp %top

# NAME ( NAME , ... ) { var NAME , ... ; STATEMENT... }
:top_function
  push_r14
  push_r15
  mov_rax,[i32] LAST
  mov_[i32],rax SCOPE         ; what is declared from here on is the function's
  xor_eax,eax
  mov_[i32],rax COUNT
  mov_[i32],rax LOOP
  call %next
  mov_eax,i32 T_OPEN
  call %expect
  cmp_r13d,i32 T_CLOSE
  je8 !parameters_end
:parameter
  call %is_name
  push_i8 1'2
  pop_rax                     ; a local variable
  call %declare
  inc_dword[i32] COUNT
  call %next
  cmp_r13d,i32 T_COMMA
  jne8 !parameters_end
  call %next
  jmp8 !parameter
:parameters_end
  mov_eax,i32 T_CLOSE
  call %expect
  mov_rcx,[i32] LAST          ; above rbp are the old one, the place to return to, and
  push_i8 1'16                ; then the last argument, up to the first
  pop_rax
:parameter_place
  cmp_rcx,[i32] SCOPE
  je8 !parameters_placed
  sub_rcx,i8 1'32
  mov_[rcx+24],rax
  add_rax,i8 1'8
  jmp8 !parameter_place
:parameters_placed
  pop_rcx                     ; the length of the name, and its address
  pop_rdx
  mov_al,i8 ":"
  mov_edi,[i32] COUNT
  call %put_function
  mov_eax,i32 &code_enter
  call %emit
  xor_eax,eax
  mov_[i32],rax COUNT
  mov_eax,i32 T_BEGIN
  call %expect
:locals                       ; variables come first
  mov_rcx,i64 "var" 00 00 00 00 00
  call %is_word
  jne8 !body
:local
  call %next_name
  dec_dword[i32] COUNT
  movsxd_rcx,dword[i32] COUNT
  shl_rcx,i8 1'3              ; the first is at rbp - 8
  push_i8 1'2
  pop_rax
  call %declare
  mov_eax,i32 &code_variable
  call %emit
  call %next
  cmp_r13d,i32 T_COMMA
  je8 !local
  mov_eax,i32 T_SEMI
  call %expect
  jmp8 !locals
:body
  cmp_r13d,i32 T_FINISH
  je8 !body_end
  call %statement
  jmp8 !body
:body_end
  mov_eax,i32 &code_return_zero
  call %emit
  mov_rax,[i32] SCOPE
  mov_[i32],rax LAST          ; forget the function's names
  mov_qword[i32],i32 SCOPE TABLE
  call %next
  jmp %top

# constant: reads CONSTANT: a number, one with a minus, or the name of a number;
# rax = its value.
:constant
  cmp_r13d,i32 T_MINUS
  jne8 !constant_plus
  call %next
  call %constant_plus
  neg_rax
  ret
:constant_plus
  cmp_r13d,i32 A_NUMBER
  je8 !constant_number
  call %is_name
  call %find
  jne %wrong                  ; not declared
  cmp_qword[rdx+16],i8 1'0
  jne %wrong                  ; no number
  mov_r15,[rdx+24]
:constant_number
  push_r15
  call %next
  pop_rax
  ret

# ==== statements ====
:statement
  cmp_r13d,i32 T_SEMI
  je %next                    ; nothing
  cmp_r13d,i32 T_BEGIN
  je8 !block
  mov_rcx,i64 "if" 00 00 00 00 00 00
  call %is_word
  je8 !if
  mov_rcx,i64 "while" 00 00 00
  call %is_word
  je %while
  mov_rcx,i64 "return" 00 00
  call %is_word
  je %return_statement
  mov_rcx,i64 "break" 00 00 00
  call %is_word
  je %break
  mov_rcx,i64 "continue"
  call %is_word
  je %continue
  call %expression
:semicolon
  mov_eax,i32 T_SEMI
  jmp %expect

# { STATEMENT... }
:block
  call %next
:block_next
  cmp_r13d,i32 T_FINISH
  je %next
  call %statement
  jmp8 !block_next

# if ( E ) STATEMENT else STATEMENT
:if
  call %next
  call %condition
  call %new_label
  push_rax                    ; not taken
  mov_ecx,i32 &code_jump_zero
  call %emit_jump
  call %statement
  mov_rcx,i64 "else" 00 00 00 00
  call %is_word
  jne8 !if_end
  call %new_label
  pop_rdx
  push_rax                    ; taken: over what follows else
  push_rdx
  mov_ecx,i32 &code_jump
  call %emit_jump
  pop_rax
  call %put_label
  call %next
  call %statement
:if_end
  pop_rax
  jmp %put_label

# while ( E ) STATEMENT
:while
  call %next
  mov_rax,[i32] LOOP
  push_rax                    ; the loop around this one
  call %new_label
  mov_[i32],rax LOOP
  push_rax
  call %put_label
  call %new_label             ; the end, LOOP + 1
  push_rax
  call %condition
  pop_rax
  push_rax
  mov_ecx,i32 &code_jump_zero
  call %emit_jump
  call %statement
  pop_rdx
  pop_rax
  push_rdx
  mov_ecx,i32 &code_jump
  call %emit_jump             ; back to the beginning
  pop_rax
  call %put_label
  pop_rax
  mov_[i32],rax LOOP
  ret

# ( E )
:condition
  mov_eax,i32 T_OPEN
  call %expect
  call %expression
  mov_eax,i32 T_CLOSE
  jmp %expect

# return E ;
:return_statement
  call %next
  mov_eax,i32 &code_return_zero
  cmp_r13d,i32 T_SEMI
  je8 !return_nothing
  call %expression
  mov_eax,i32 &code_return
:return_nothing
  call %emit
  jmp %semicolon

# break ; and continue ;
:break
  mov_rax,[i32] LOOP
  inc_rax                     ; the label of its end
  jmp8 !leave_loop
:continue
  mov_rax,[i32] LOOP
:leave_loop
  cmp_qword[i32],i8 LOOP 1'0
  je %wrong                   ; no loop
  mov_ecx,i32 &code_jump
  call %emit_jump
  call %next
  jmp %semicolon

# ==== expressions: see KIND above ====
# expression: UNARY = EXPRESSION, or BINARY; its value.
:expression
  call %unary
  cmp_r13d,i32 T_IS
  je8 !assignment
  push_i8 1'1
  pop_rax                     ; any operator
  jmp8 !binary_rest
:assignment
  test_ebp,ebp
  jz %wrong                   ; not a place
  push_rbp
  mov_eax,i32 &code_push
  call %emit
  call %next
  call %expression
  pop_rbp
  mov_eax,i32 &code_store
  cmp_ebp,i8 1'8
  je8 !assignment_word
  mov_eax,i32 &code_store_byte
:assignment_word
  xor_ebp,ebp                 ; the value is in rax, still
  jmp %emit

# binary: UNARY OPERATOR BINARY, where the operator binds as strongly as eax, or
# stronger; its value.
:binary
  push_rax
  call %unary
  pop_rax
:binary_rest
  push_rax
  call %value
  pop_rax
:binary_next
  mov_edx,i32 &operators
:operator
  mov_ecx,[rdx]
  test_ecx,ecx
  jz %return                  ; no operator
  cmp_ecx,r13d
  je8 !operator_found
  add_rdx,i8 1'16
  jmp8 !operator
:operator_found
  cmp_[rdx+4],eax
  jb %return                  ; it binds too weakly
  push_rax
  push_rdx
  cmp_dword[rdx+12],i8 1'0
  jne8 !logical
  mov_eax,i32 &code_push
  call %emit
  call %next
  pop_rdx
  push_rdx
  mov_eax,[rdx+4]
  inc_eax                     ; the right side binds stronger
  call %binary
  pop_rdx
  mov_eax,[rdx+8]             ; the operator's code
  call %emit
  pop_rax
  jmp8 !binary_next
:logical                      ; && and ||: the right side may be left out
  call %new_label
  pop_rdx
  push_rax
  push_rdx
  mov_ecx,[rdx+8]
  call %emit_jump
  call %next
  pop_rdx
  mov_eax,[rdx+4]
  inc_eax
  call %binary
  pop_rax
  call %put_label
  mov_eax,i32 &code_bool
  call %emit
  pop_rax
  jmp %binary_next

# value: makes a value of what is in rax.
:value
  mov_eax,i32 &code_load
  cmp_ebp,i8 1'8
  je8 !value_load
  mov_eax,i32 &code_load_byte
  cmp_ebp,i8 1'1
  je8 !value_load
  ret
:value_load
  xor_ebp,ebp
  jmp %emit

# unary: - UNARY, ! UNARY, ~ UNARY, or PRIMARY [ E ] .[ E ] ...
:unary
  mov_eax,i32 &code_negate
  cmp_r13d,i32 T_MINUS
  je8 !unary_operator
  mov_eax,i32 &code_not
  cmp_r13d,i32 T_NOT
  je8 !unary_operator
  mov_eax,i32 &code_invert
  cmp_r13d,i32 T_INVERT
  je8 !unary_operator
  call %primary
:index
  push_i8 1'8
  pop_rax
  mov_ecx,i32 &code_index
  cmp_r13d,i32 T_INDEX
  je8 !index_found
  push_i8 1'1
  pop_rax
  mov_ecx,i32 &code_index_byte
  cmp_r13d,i32 T_BYTE
  jne %return
:index_found
  push_rax
  push_rcx
  call %value
  mov_eax,i32 &code_push
  call %emit
  call %next
  call %expression
  mov_eax,i32 T_INDEXED
  call %expect
  pop_rax
  call %emit
  pop_rbp                     ; the address of a word or of a byte
  jmp8 !index
:unary_operator
  push_rax
  call %next
  call %unary
  call %value
  pop_rax
  jmp %emit

# primary: NUMBER, 'c', "text", ( E ), NAME, NAME ( E , ... )
:primary
  xor_ebp,ebp                 ; a value, mostly
  cmp_r13d,i32 A_NUMBER
  je8 !primary_number
  cmp_r13d,i32 A_STRING
  je8 !primary_string
  cmp_r13d,i32 T_OPEN
  je %condition
  call %is_name
  jmp %primary_name
:primary_number
  mov_rax,r15
  call %emit_number
  jmp %next

# A string stands where it is used. A call over it leaves its address on the stack.
:primary_string
  call %new_label
  push_rax
  mov_ecx,i32 &code_call
  call %emit_jump
:string_next
  cmp_rsi,r12
  je %wrong                   ; it does not end
  mov_al,[rsi]
  cmp_al,i8 22
  je8 !string_end
  call %character
  call %put_hex
  mov_al,i8 " "
  call %put
  jmp8 !string_next
:string_end
  inc_rsi
  mov_eax,i32 &code_zero_byte
  call %emit
  pop_rax
  call %put_label
  mov_eax,i32 &code_pop
  call %emit
  jmp %next

:primary_name
  call %find                  ; rdx = what it is
  je8 !primary_known
  xor_edx,edx                 ; nothing
:primary_known
  push_r14
  push_r15
  push_rdx
  call %next
  pop_rdx
  cmp_r13d,i32 T_OPEN
  je %primary_call
  pop_rcx
  pop_rax
  test_edx,edx
  jz %wrong                   ; not declared
  mov_rax,[rdx+24]            ; its value, address, or distance
  mov_ecx,[rdx+16]
  cmp_ecx,i8 1'1
  je8 !primary_global
  cmp_ecx,i8 1'2
  je8 !primary_local
  cmp_ecx,i8 1'3
  jne %emit_number            ; a number
  mov_eax,i32 &code_table
  call %emit
  mov_al,i8 "&"
  jmp %put_table
:primary_global
  cmp_r13d,i32 T_IS
  je8 !primary_global_place
  mov_ecx,i32 &code_global
  jmp8 !primary_four
:primary_global_place
  push_i8 1'8
  pop_rbp
  jmp %emit_number
:primary_local
  mov_ecx,i32 &code_local
  cmp_r13d,i32 T_IS
  jne8 !primary_four
  mov_ecx,i32 &code_local_place
  push_i8 1'8
  pop_rbp
:primary_four                 ; the code rcx, and the four bytes eax
  push_rax
  mov_eax,ecx
  call %emit
  pop_rax
  call %put_number
  jmp %put_line

:primary_call                 ; on the stack: the name's length, and its address
  call %next
  push_i8 1'0                 ; so many arguments
  cmp_r13d,i32 T_CLOSE
  je8 !arguments_end
:argument
  call %expression
  mov_eax,i32 &code_push
  call %emit
  inc_dword[rsp]
  cmp_r13d,i32 T_COMMA
  jne8 !arguments_end
  call %next
  jmp8 !argument
:arguments_end
  mov_eax,i32 T_CLOSE
  call %expect
  xor_ebp,ebp
  mov_eax,i32 &code_call
  call %emit
  pop_rdi
  pop_rcx
  pop_rdx
  push_rdi
  mov_al,i8 "%"
  call %put_function
  mov_eax,i32 &code_drop
  call %emit
  pop_rax
  shl_eax,i8 1'3
  call %put_number
  jmp %put_line

# ==== names ====
# find: looks up the name r14, the last of that name: rdx = its entry, and the zero
# flag is set; or it is not.
:find
  mov_rdx,[i32] LAST
:find_next
  cmp_rdx,i32 TABLE
  je8 !find_none
  sub_rdx,i8 1'32
  cmp_[rdx+8],r15
  jne8 !find_next             ; another length
  push_rsi
  mov_rsi,[rdx]
  mov_rdi,r14
  mov_rcx,r15
  repe_cmpsb
  pop_rsi
  jne8 !find_next
  ret
:find_none
  test_edx,edx                ; never 0
:return
  ret

# declare: the name r14 is rax, with the value rcx; rdx = its entry.
:declare
  push_rax
  push_rcx
  call %find
  jne8 !declare_new
  cmp_rdx,[i32] SCOPE
  jae %wrong                  ; declared twice
:declare_new
  mov_rdx,[i32] LAST
  cmp_rdx,i32 TABLE_FULL
  jae %wrong
  pop_rcx
  pop_rax
  mov_[rdx],r14
  mov_[rdx+8],r15
  mov_[rdx+16],rax
  mov_[rdx+24],rcx
  mov_rax,rdx
  add_rax,i8 1'32
  mov_[i32],rax LAST
  ret

# is_name: the token has to be a name. next_name: the next one has to be.
:next_name
  call %next
:is_name
  cmp_r13d,i32 A_NAME
  jne %wrong
  ret

# is_word: sets the zero flag if the token is the name rcx.
:is_word
  cmp_r13d,i32 A_NAME
  jne %return
  cmp_[i32],rcx NAME8
  ret

# expect: the token has to be eax; reads the next.
:expect
  cmp_r13d,eax
  jne %wrong
