# hex1.m: hex1 for x86-64. The language and the method are those of hex1.hex0 in
# stage1, where they are explained; an error is shown, as hex2 does.
#
#   rsi  next byte of the input    ebp  0 in the first pass, 1 in the second
#   rbx  next byte of the output
def TABLE 4'0x10000000        ; 8 bytes for each label: its address in OUT, or 0
:main
  xor_ebp,ebp
  call %pass                  ; the first
  inc_ebp                     ; and then the second, which knows all labels
:pass
  mov_esi,i32 IN
  mov_ebx,i32 OUT
:next
  cmp_rsi,r12
  je %return                  ; the end of the input
  xor_eax,eax
  lodsb                       ; eax = the next character
  cmp_al,i8 " "               ; a blank, or a control character,
  jbe8 !next                  ; means nothing
  cmp_al,i8 "#"
  je8 !comment
  cmp_al,i8 ";"
  je8 !comment
  cmp_al,i8 ":"
  je8 !define
  cmp_al,i8 "!"
  je8 !rel8
  cmp_al,i8 "%"
  je8 !rel32
  call %digit                 ; the high half of a byte
  shl_eax,i8 1'4
  mov_edx,eax
  call %char                  ; the character beside it
  call %digit                 ; is the low half
  or_eax,edx
  mov_[rbx],al
  inc_rbx
  jmp8 !next
:comment                      ; up to the end of the line
  cmp_rsi,r12
  je8 !return
  lodsb
  cmp_al,i8 0A
  jne8 !comment
  jmp8 !next
:define
  call %label                 ; rcx = where it is
  test_ebp,ebp
  jnz8 !next                  ; the second pass knows
  test_rcx,rcx
  jnz %wrong                  ; defined twice
  mov_[rax*8+i32],rbx TABLE   ; it is here
  jmp8 !next
:rel8
  call %label
  inc_rbx                     ; the end of this byte
  sub_rcx,rbx                 ; the distance; without the label it is far too far
  mov_[rbx-1],cl
  test_ebp,ebp
  jz8 !next                   ; the first pass may not know the label
  movsx_rax,cl
  cmp_rax,rcx
  jne %wrong                  ; does not fit into a byte
  jmp %next
:rel32
  call %label
  add_rbx,i8 1'4              ; the end of these four bytes
  cmp_rcx,rbp
  jb %wrong                   ; 0 in the second pass: not defined
  sub_rcx,rbx                 ; the distance
  mov_[rbx-4],ecx
  jmp %next

# label: reads the name of a label to rax, and what TABLE has to rcx.
:label
  call %char
  cmp_al,i8 " "
  jbe %wrong                  ; a blank is no name
  mov_rcx,[rax*8+i32] TABLE
:return
  ret

# char: reads a character that has to be there to rax.
:char
  xor_eax,eax
  cmp_rsi,r12
  je %wrong                   ; the end of the input
  lodsb
  ret
