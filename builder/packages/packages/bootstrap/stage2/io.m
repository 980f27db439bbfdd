# io.m: start, for the tools that read files IN, in order, as one text, and write
# OUT: hex0, hex1, hex2, m, b. Their label main does the rest. It is called with
#
#   rsi  the beginning of the input     r12  the end of the input
#   rbx  the place for output, OUT
#
# and returns the end of the output in rbx. Nothing is written to OUT before it
# returns. It goes to the label fail if there is an error, or to the label wrong if
# that is in the input before rsi. rcx and r11 are Linux's to change, with syscall.

# ---- memory: below OUT, what there is belongs to main ----
def OUT 4'0x12800000          ; the output, 16 MiB
def IN  4'0x13800000          ; the input, 8 MiB, up to the end of memory

# Linux starts the program with the number of arguments on the stack, then the
# address of each argument (the program's name, OUT, IN...), then 0.
:start
  mov_r12d,i32 IN             ; nothing has been read
  pop_rax                     ; the number of arguments
  pop_rax                     ; the name of this program
  pop_r14                     ; OUT
:start_file                   ; for each IN:
  pop_rdi                     ; its name
  test_rdi,rdi
  jz8 !start_main             ; 0: that was all
  xor_esi,esi                 ; to be read only
  push_i8 1'2
  pop_rax
  syscall                     ; open(IN, O_RDONLY)
  mov_ebx,eax                 ; the open file, or an error, with which read fails
:start_more
  mov_edi,ebx
  mov_rsi,r12                 ; to the end of what has been read,
  mov_edx,i32 4'0x10000000    ; as much as there is: Linux stops where memory ends
  xor_eax,eax
  syscall                     ; read(file, r12, much)
  add_r12,rax                 ; so much longer is the input
  test_rax,rax
  jg8 !start_more             ; there may be more
  jz8 !start_file             ; the end of this IN
:fail                         ; an error
  push_i8 1'1
  pop_rdi
:exit                         ; with status edi
  push_i8 1'60
  pop_rax
  syscall                     ; exit(edi)

:wrong                        ; an error in the text: show what was read last
  sub_rsi,i8 1'40
  push_i8 1'40
  pop_rdx
  push_i8 1'2
  pop_rdi
  push_i8 1'1
  pop_rax
  syscall                     ; write(2, rsi - 40, 40)
  jmp8 !fail

:start_main
  push_r14                    ; OUT stays on the stack
  mov_esi,i32 IN
  mov_ebx,i32 OUT
  call %main
  pop_rdi
  mov_esi,i32 4'0x241         ; O_WRONLY 1, O_CREAT 40, O_TRUNC 200, hexadecimal
  mov_edx,i32 4'0x1ed         ; mode rwxr-xr-x, octal 755
  push_i8 1'2
  pop_rax
  syscall                     ; open(OUT, flags, mode)
  mov_ebp,eax                 ; the open file
  mov_edi,eax
  mov_esi,edx
  push_i8 1'91
  pop_rax
  syscall                     ; fchmod(file, mode): whatever the umask is
  mov_edi,ebp
  mov_esi,i32 OUT             ; where the output begins
  mov_rdx,rbx
  sub_rdx,rsi                 ; its length
  push_i8 1'1
  pop_rax
  syscall                     ; write(file, OUT, length)
  xor_edi,edi                 ; status 0,
  cmp_rax,rdx
  jne8 !fail                  ; if all of it has been written
  jmp8 !exit
