# cmp A B: ends with status 0 if the two files have the same bytes, and with 1 if
# they do not, or cannot be read. Files may have 16 MiB.
:start
  pop_rax                     ; the number of arguments
  cmp_eax,i8 1'3
  jne8 !fail
  pop_rax                     ; the name of this program
  pop_rdi                     ; A
  mov_ebp,i32 4'0x10000000    ; where A goes
  mov_r12d,i32 4'0x11000000   ; up to here
  call %slurp
  mov_r13,rax                 ; the length of A
  pop_rdi                     ; B
  mov_ebp,i32 4'0x12000000
  mov_r12d,i32 4'0x13000000
  call %slurp
  cmp_rax,r13
  jne8 !fail                  ; another length
  mov_rcx,rax
  mov_esi,i32 4'0x10000000
  mov_edi,i32 4'0x12000000
  cmp_rax,rax                 ; no byte, no difference
  repe_cmpsb
  jne8 !fail
  xor_edi,edi
  jmp8 !exit
:fail
  push_i8 1'1
  pop_rdi
:exit
  push_i8 1'60
  pop_rax
  syscall                     ; exit(edi)

# slurp: reads the file whose name is at rdi to rbp, as far as r12: rax = its length.
:slurp
  mov_rbx,rbp                 ; the end of what has been read
  xor_esi,esi
  push_i8 1'2
  pop_rax
  syscall                     ; open(rdi, O_RDONLY)
  mov_r14d,eax                ; the open file, or an error, with which read fails
:slurp_more
  mov_edi,r14d
  mov_rsi,rbx
  mov_rdx,r12
  sub_rdx,rbx
  jz8 !fail                   ; no room is left
  xor_eax,eax
  syscall                     ; read(file, rbx, r12 - rbx)
  test_rax,rax
  js8 !fail
  jz8 !slurp_end
  add_rbx,rax
  jmp8 !slurp_more
:slurp_end
  mov_rax,rbx
  sub_rax,rbp
  ret
