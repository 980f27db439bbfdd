# hex2.m: hex2 for x86-64. The language and the method are those of hex2.hex1 in
# stage1, where they are explained.
#
#   rsi  next byte of the input    rbp  end of the table
#   rbx  next byte of the output
def PASS  4'0x10000000        ; 0 in the first pass, 1 in the second
def TABLE 4'0x10000018        ; 24 bytes for each label: the address of its name, the
                              ; length of its name, and its address in OUT
def TABLE_FULL 4'0x11680018   ; room for 983,040 labels
:main
  mov_ebp,i32 TABLE           ; no labels yet
  call %pass                  ; the first
  inc_dword[i32] PASS         ; and then the second, which knows all labels
:pass
  mov_esi,i32 IN
  mov_ebx,i32 OUT
:next
  cmp_rsi,r12
  je %return                  ; the end of the input
  lodsb                       ; al = the next character
  cmp_al,i8 " "               ; a blank, or a control character,
  jbe8 !next                  ; means nothing
  cmp_al,i8 "#"
  je8 !comment
  cmp_al,i8 ";"
  je8 !comment
  cmp_al,i8 ":"
  je8 !define
  cmp_al,i8 "!"
  je %rel8
  cmp_al,i8 "%"
  je %rel32
  cmp_al,i8 "&"
  je %address
  cmp_al,i8 "<"
  je %offset
  call %digit                 ; the high half of a byte
  shl_eax,i8 1'4
  mov_edx,eax
  cmp_rsi,r12
  je %wrong                   ; the end of the input
  lodsb                       ; the character beside it
  call %digit                 ; is the low half
  or_al,dl
  mov_[rbx],al
  inc_rbx
  jmp8 !next
:comment                      ; up to the end of the line
  cmp_rsi,r12
  je %return
  lodsb
  cmp_al,i8 0A
  jne8 !comment
  jmp8 !next
:define
  call %lookup                ; rdx = the label's entry
  cmp_dword[i32],i8 PASS 1'0
  jne8 !next                  ; the second pass knows
  cmp_rdx,rbp
  jne %wrong                  ; defined twice
  cmp_rdx,i32 TABLE_FULL
  jae %wrong
  mov_[rdx],rax               ; its name,
  mov_[rdx+8],rcx             ; the length of its name,
  mov_[rdx+16],rbx            ; where it is
  lea_rbp,[rdx+24]
  jmp %next
:rel8
  call %reference             ; rcx = where the label is
  inc_rbx                     ; the end of this byte
  sub_rcx,rbx                 ; the distance
  mov_[rbx-1],cl
  cmp_dword[i32],i8 PASS 1'0
  je %next                    ; the first pass may not know the label
  movsx_rax,cl
  cmp_rax,rcx
  jne %wrong                  ; does not fit into a byte
  jmp %next
:rel32
  call %reference
  lea_rax,[rbx+4]             ; the end of these four bytes
  sub_rcx,rax                 ; the distance
  jmp8 !four
:address
  call %reference
  sub_rcx,i32 4'0x12400000    ; OUT - 400000
  jmp8 !four
:offset
  call %reference
  sub_rcx,i32 OUT
:four                         ; the four bytes of ecx
  mov_[rbx],ecx
  add_rbx,i8 1'4
  jmp %next

# reference: reads a name, and looks up in rcx where its label is.
:reference
  call %lookup
  mov_rcx,[rdx+16]
  mov_eax,[i32] PASS
  cmp_rcx,rax
  jb %wrong                   ; 0 in the second pass: not defined
:return
  ret

# lookup: reads a name: rax = its address, rcx = its length, rdx = its entry in the
# table, or, if there is none, the end of the table, where all is 0.
:lookup
  mov_rax,rsi
:lookup_name
  cmp_rsi,r12
  je8 !lookup_end
  cmp_byte[rsi],i8 " "
  jbe8 !lookup_end            ; a blank ends the name
  inc_rsi
  jmp8 !lookup_name
:lookup_end
  mov_rcx,rsi
  sub_rcx,rax
  jz %wrong                   ; no name
  mov_edx,i32 TABLE
:lookup_entry                 ; for each entry:
  cmp_rdx,rbp
  je8 !return                 ; that was all
  cmp_[rdx+8],rcx
  jne8 !lookup_other          ; another length
  push_rcx
  push_rsi
  mov_rsi,[rdx]               ; its name,
  mov_rdi,rax                 ; and ours
  repe_cmpsb                  ; compare rcx bytes
  pop_rsi
  pop_rcx
  je8 !return                 ; equal
:lookup_other
  add_rdx,i8 1'24
  jmp8 !lookup_entry
