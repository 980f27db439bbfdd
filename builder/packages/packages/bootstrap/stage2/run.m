# run FILE...: runs the commands in the files, one a line, until one fails. A line
# is words with blanks between them: the path of a program, and its arguments. "#"
# at the beginning of a line begins a comment. There are no variables, quotes or
# patterns. Each line is shown before it is run. The environment is empty.
#
# Ends with status 0 if all commands did, and otherwise with 1. The files may have
# 16 MiB together; a line may have 4,095 words.
def TEXT  4'0x10000000        ; the files
def LIMIT 4'0x11000000        ; end of the room for them
def ARGS  4'0x12000000        ; the address of each word of a line, then 0
def ARGS_END 4'0x12007ff8
def STATUS 4'0x13000000       ; how a command has ended
:start
  mov_r12d,i32 TEXT           ; r12 = the end of the text
  pop_rax                     ; the number of arguments
  pop_rax                     ; the name of this program
:file                         ; for each FILE:
  pop_rdi
  test_rdi,rdi
  jz8 !commands               ; 0: that was all
  xor_esi,esi
  push_i8 1'2
  pop_rax
  syscall                     ; open(FILE, O_RDONLY)
  mov_ebx,eax
:more
  mov_edi,ebx
  mov_rsi,r12
  mov_edx,i32 LIMIT
  sub_rdx,rsi
  jz8 !fail                   ; too long
  xor_eax,eax
  syscall                     ; read(file, r12, room)
  add_r12,rax
  test_rax,rax
  jg8 !more
  jz8 !file
:fail
  push_i8 1'1
  pop_rdi
:exit
  push_i8 1'60
  pop_rax
  syscall                     ; exit(edi)

:commands
  mov_esi,i32 TEXT            ; rsi = the next character
:line
  xor_edi,edi                 ; status 0
  cmp_rsi,r12
  je8 !exit                   ; that was all
  mov_r13,rsi                 ; r13 = the beginning of the line
:line_end
  cmp_rsi,r12
  je8 !fail                   ; the last line does not end
  lodsb
  cmp_al,i8 0A
  jne8 !line_end
  cmp_byte[r13],i8 "#"
  je8 !line                   ; a comment
  mov_r14,rsi                 ; r14 = the next line
  mov_rsi,r13
  mov_rdx,r14
  sub_rdx,r13
  push_i8 1'1
  pop_rdi
  push_i8 1'1
  pop_rax
  syscall                     ; write(1, r13, r14 - r13)
  mov_edi,i32 ARGS
:blank
  cmp_rsi,r14
  je8 !command                ; the end of the line
  lodsb
  cmp_al,i8 " "
  jbe8 !blank
  dec_rsi
  mov_[rdi],rsi               ; the address of a word
  add_rdi,i8 1'8
  cmp_rdi,i32 ARGS_END
  je8 !fail                   ; too many
:word
  lodsb
  cmp_al,i8 " "
  ja8 !word
  mov_byte[rsi-1],i8 1'0      ; a zero after the word
  jmp8 !blank

:command
  xor_eax,eax
  mov_[rdi],rax               ; 0 after the last word
  cmp_rdi,i32 ARGS
  je8 !done                   ; an empty line
  push_i8 1'57
  pop_rax
  syscall                     ; fork()
  test_eax,eax
  js8 !fail
  jnz8 !parent
  mov_esi,i32 ARGS            ; the child:
  mov_rdi,[rsi]
  xor_edx,edx
  push_i8 1'59
  pop_rax
  syscall                     ; execve(ARGS[0], ARGS, 0), which returns only to fail
  jmp8 !fail8
:parent
  mov_edi,eax
  mov_esi,i32 STATUS
  xor_edx,edx
  xor_r10d,r10d
  push_i8 1'61
  pop_rax
  syscall                     ; wait4(child, STATUS, 0, 0)
  test_eax,eax
  js8 !fail8
  cmp_dword[i32],i8 STATUS 1'0
  jne8 !fail8                 ; it has failed, or was killed
:done
  mov_rsi,r14
  jmp %line
:fail8                        ; a step on the way to fail
  jmp %fail
