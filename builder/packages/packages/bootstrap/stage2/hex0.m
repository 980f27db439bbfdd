# hex0.m: hex0 for x86-64. The language and the method are those of hex0.hex0 in
# stage0, where they are explained; an error is shown, as hex2 does. The input may
# have 8 MiB.
:main
:byte
  push_i8 1'1
  pop_rdx                     ; edx = 1, and then each digit is shifted in from below
:next
  cmp_rsi,r12
  je8 !done                   ; the end of the input
  lodsb                       ; al = the next character
  cmp_al,i8 "#"
  je8 !comment
  cmp_al,i8 ";"
  je8 !comment
  cmp_al,i8 " "               ; a blank, or a control character,
  jbe8 !next                  ; means nothing
  call %digit
  shl_edx,i8 1'4
  or_dl,al                    ; edx = 1h after one digit h, 1hl after two
  test_dh,dh
  jz8 !next
  mov_[rbx],dl                ; the byte
  inc_rbx
  jmp8 !byte
:comment                      ; up to the end of the line
  cmp_rsi,r12
  je8 !done
  lodsb
  cmp_al,i8 0A
  jne8 !comment
  jmp8 !next
:done
  dec_edx                     ; edx = 0,
  jnz %wrong                  ; unless half a byte is left
  ret
