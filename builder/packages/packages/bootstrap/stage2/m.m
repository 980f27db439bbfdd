# m.m: m for x86-64. The language and the method are those of m.hex2 in stage1,
# where they are explained.
#
#   rsi  next byte of the input    rbx  next byte of the output
def LIMIT    4'0x10000000     ; where the place for output ends
def LAST     4'0x10000008     ; the end of the table
def DEF      4'0x10000010     ; 1 while the rest of a def is translated
def BODY     4'0x10000018     ; the end of what names stand for
def SAVED    4'0x10000020     ; the next byte of the output, while DEF is 1
def WIDTH    4'0x10000028     ; of a number,
def SIGN     4'0x10000030     ; 1 if it has one,
def WORD_END 4'0x10000038     ; and where it ends
def TABLE    4'0x10000040     ; 32 bytes for each name: its address, its length, the
                              ; address and the length of what it stands for
def TABLE_FULL 4'0x10200000   ; 65,534 names
def BODIES   4'0x10200000     ; what names stand for
def BODIES_END 4'0x10c00000   ; 10 MiB
def OUT_END  4'0x13800000
:main
  mov_qword[i32],i32 LIMIT OUT_END
  mov_qword[i32],i32 LAST TABLE
  mov_qword[i32],i32 BODY BODIES
:next
  cmp_rsi,r12
  je %finish                  ; the end of the input
  lodsb                       ; al = the next character
  cmp_al,i8 0A
  je %newline                 ; the end of the line
  cmp_al,i8 " "               ; a blank, or a control character,
  jbe8 !next                  ; is between words
  cmp_al,i8 "#"
  je %comment
  cmp_al,i8 ";"
  je %comment
  cmp_al,i8 22                ; a double quote
  je %string
  dec_rsi
  call %read_word             ; rax = the word, rcx = its length
  cmp_rcx,i8 1'3
  jb8 !no_def                 ; shorter than "def",
  jne8 !no_three
  cmp_word[rax],i16 "de"      ; or another word
  jne8 !no_three
  cmp_byte[rax+2],i8 "f"
  je %define
:no_three
  cmp_byte[rax+1],i8 "'"      ; a single quote after the first character
  je %number
:no_def
  call %find                  ; rdx = the name's entry
  jne8 !no_name
  mov_rcx,[rdx+24]            ; the length of what it stands for,
  mov_rax,[rdx+16]            ; and its address
  call %copy
  jmp8 !next
:no_name
  mov_dl,[rax]                ; the first character
  cmp_dl,i8 ":"
  je8 !itself
  cmp_dl,i8 "!"
  je8 !itself
  cmp_dl,i8 "%"
  je8 !itself
  cmp_dl,i8 "&"
  je8 !itself
  cmp_dl,i8 "<"
  je8 !itself
  test_cl,i8 1'1
  jnz %wrong                  ; an odd number of digits
  mov_edx,ecx                 ; for each character of the word:
  push_rax
  sub_rsi,rcx
:hexadecimal
  lodsb
  call %digit                 ; has to be a digit
  dec_edx
  jnz8 !hexadecimal
  pop_rax
:itself
  call %copy                  ; the word,
  mov_al,i8 " "               ; and a blank
  call %put
  jmp %next

# ---- the ends of lines and of the input ----
:comment
  cmp_rsi,r12
  je8 !finish
  lodsb
  cmp_al,i8 0A
  jne8 !comment
:newline
  cmp_qword[i32],i8 DEF 1'0
  jne %defined
  call %put                   ; al = 0A: a new line in the output, too
  jmp %next
:finish
  cmp_qword[i32],i8 DEF 1'0
  jne %wrong                  ; a def that does not end
  ret

# ---- def: from here to the end of the line, the output goes to BODY ----
:define
  cmp_qword[i32],i8 DEF 1'0
  jne %wrong                  ; a def within a def
:blank
  cmp_rsi,r12
  je %wrong                   ; no name
  lodsb
  cmp_al,i8 0A
  je %wrong                   ; no name on this line
  cmp_al,i8 " "
  jbe8 !blank
  dec_rsi
  call %read_word             ; rax = the name, rcx = its length
  call %find                  ; rdx = the end of the table
  je %wrong                   ; defined twice
  cmp_rdx,i32 TABLE_FULL
  jae %wrong
  mov_[rdx],rax               ; its name,
  mov_[rdx+8],rcx             ; the length of its name,
  mov_[i32],rbx SAVED
  mov_rbx,[i32] BODY
  mov_[rdx+16],rbx            ; where what it stands for begins
  mov_qword[i32],i32 LIMIT BODIES_END
  inc_dword[i32] DEF          ; 1
  jmp %next
:defined                      ; the line has ended
  mov_rdx,[i32] LAST
  mov_rax,rbx
  sub_rax,[i32] BODY
  mov_[rdx+24],rax            ; so much is what it stands for
  mov_[i32],rbx BODY
  mov_rbx,[i32] SAVED
  mov_qword[i32],i32 LIMIT OUT_END
  add_rdx,i8 1'32
  mov_[i32],rdx LAST          ; from now on, there is this name
  dec_dword[i32] DEF          ; 0
  jmp %next

# ---- "text" ----
:string
  cmp_rsi,r12
  je %wrong
  lodsb
  cmp_al,i8 0A
  je %wrong                   ; the line ends before the string
  cmp_al,i8 22
  je8 !string_end
  call %hex
  jmp8 !string
:string_end
  mov_al,i8 " "
  call %put
  jmp %next

# ---- N'V ----
:number
  mov_[i32],rsi WORD_END
  mov_rsi,rax
  xor_eax,eax
  mov_[i32],rax SIGN
  lodsb                       ; N
  sub_al,i8 "0"
  mov_[i32],rax WIDTH
  cmp_al,i8 1'1
  je8 !width_good
  cmp_al,i8 1'2
  je8 !width_good
  cmp_al,i8 1'4
  jne %wrong                  ; no such width
:width_good
  inc_rsi                     ; the single quote
  cmp_byte[rsi],i8 "-"
  jne8 !no_sign
  inc_dword[i32] SIGN         ; 1
  inc_rsi
:no_sign
  push_i8 1'10
  pop_rcx                     ; ecx = the base, ten
  cmp_word[rsi],i16 "0x"
  jne8 !no_base
  mov_cl,i8 1'16              ; sixteen
  inc_rsi
  inc_rsi
:no_base
  xor_ebp,ebp                 ; ebp = the value
:digits
  mov_eax,ebp
  mul_ecx
  jc %wrong                   ; more than four bytes
  mov_ebp,eax
  xor_eax,eax
  cmp_rsi,[i32] WORD_END
  jae %wrong                  ; no digit
  lodsb
  call %digit
  cmp_eax,ecx
  jae %wrong                  ; no digit in this base
  add_ebp,eax
  jc %wrong
  cmp_rsi,[i32] WORD_END
  jne8 !digits
  mov_ecx,[i32] WIDTH
  shl_ecx,i8 1'3              ; so many bits may it have
  mov_eax,ebp
  cmp_qword[i32],i8 SIGN 1'0
  jne8 !negative
  cmp_cl,i8 1'32
  je8 !fits                   ; 32: it has
  shr_eax,cl
  jnz %wrong                  ; it does not fit
  jmp8 !fits
:negative
  neg_ebp
  mov_eax,ebp
  dec_ecx
  sar_eax,cl                  ; all bits from the sign on
  inc_eax                     ; have to be 1
  jnz %wrong
:fits
  mov_ecx,[i32] WIDTH
:number_byte
  mov_eax,ebp
  call %hex                   ; the lowest byte
  shr_ebp,i8 1'8
  dec_ecx
  jnz8 !number_byte
  mov_al,i8 " "
  call %put
  jmp %next

# read_word: reads up to a blank: rax = its address, rcx = its length.
:read_word
  mov_rax,rsi
  xor_ecx,ecx
:read_on
  cmp_rsi,r12
  je8 !return
  cmp_byte[rsi],i8 " "
  jbe8 !return
  inc_rsi
  inc_ecx
  jmp8 !read_on

# find: looks up the name at rax of length rcx: rdx = its entry, and the zero flag
# is set; or rdx = the end of the table, and it is not.
:find
  mov_edx,i32 TABLE
:find_next
  cmp_rdx,[i32] LAST
  je8 !find_none
  cmp_[rdx+8],rcx
  jne8 !find_other            ; another length
  push_rcx
  push_rsi
  mov_rsi,[rdx]               ; its name,
  mov_rdi,rax                 ; and ours
  repe_cmpsb                  ; compare rcx bytes
  pop_rsi
  pop_rcx
  je8 !return                 ; equal
:find_other
  add_rdx,i8 1'32
  jmp8 !find_next
:find_none
  test_edx,edx                ; never 0
:return
  ret

# copy: puts rcx characters from rax.
:copy
  push_rsi
  mov_rsi,rax
:copy_next
  dec_ecx
  js8 !copy_end
  lodsb
  call %put
  jmp8 !copy_next
:copy_end
  pop_rsi
  ret

# hex: puts the byte al as two digits. put: puts the character al.
:hex
  push_rax
  shr_al,i8 1'4
  call %half                  ; the high half
  pop_rax
  and_al,i8 0F                ; the low half
:half
  add_al,i8 "0"
  cmp_al,i8 "9"
  jbe8 !put
  add_al,i8 1'7               ; "A" to "F"
:put
  cmp_rbx,[i32] LIMIT
  jae %wrong                  ; too much output
  mov_[rbx],al
  inc_rbx
  ret
