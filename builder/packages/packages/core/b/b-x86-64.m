# b-x86-64.m: what the compiler b writes, in x86-64: an expression leaves its value
# in rax, and the left side of an operator is on the stack. It comes after amd64.m
# and elf.m, and before the output of b.

# ---- values ----
def b_number       mov_eax,i32            ; then four bytes
def b_number64     mov_rax,i64            ; then eight
def b_table        mov_eax,i32            ; then the address of a table
def b_global       mov_rax,[i32]          ; then the address of a variable
def b_local        mov_rax,[rbp+i32]      ; then the distance of a variable
def b_local_place  lea_rax,[rbp+i32]      ; its address
def b_load         mov_rax,[rax]
def b_load_byte    movzx_eax,byte[rax]
def b_store        pop_rcx mov_[rcx],rax
def b_store_byte   pop_rcx mov_[rcx],al
def b_index        pop_rcx lea_rax,[rcx+rax*8]
def b_index_byte   pop_rcx add_rax,rcx
def b_push         push_rax
def b_pop          pop_rax

# ---- functions: arguments are on the stack, the first of them deepest ----
def b_call         call                   ; then the distance of a function
def b_drop         add_rsp,i32            ; then the size of the arguments
def b_enter        push_rbp mov_rbp,rsp
def b_variable     push_i8 1'0            ; a local variable is 0 at first
def b_zero         xor_eax,eax
def b_return       leave ret

# ---- jumps: then the distance of a label ----
def b_jump          jmp
def b_jump_zero     test_rax,rax jz
def b_jump_not_zero test_rax,rax jnz

# ---- operators ----
def b_bool         test_rax,rax setne_al movzx_eax,al
def b_negate       neg_rax
def b_not          test_rax,rax sete_al movzx_eax,al
def b_invert       not_rax
def b_or           pop_rcx or_rax,rcx
def b_xor          pop_rcx xor_rax,rcx
def b_and          pop_rcx and_rax,rcx
def b_equal        pop_rcx cmp_rcx,rax sete_al movzx_eax,al
def b_not_equal    pop_rcx cmp_rcx,rax setne_al movzx_eax,al
def b_less         pop_rcx cmp_rcx,rax setl_al movzx_eax,al
def b_at_most      pop_rcx cmp_rcx,rax setle_al movzx_eax,al
def b_greater      pop_rcx cmp_rcx,rax setg_al movzx_eax,al
def b_at_least     pop_rcx cmp_rcx,rax setge_al movzx_eax,al
def b_shift_left   mov_rcx,rax pop_rax shl_rax,cl
def b_shift_right  mov_rcx,rax pop_rax shr_rax,cl
def b_add          pop_rcx add_rax,rcx
def b_subtract     mov_rcx,rax pop_rax sub_rax,rcx
def b_multiply     pop_rcx imul_rax,rcx
def b_divide       mov_rcx,rax pop_rax cqo idiv_rcx
def b_modulo       mov_rcx,rax pop_rax cqo idiv_rcx mov_rax,rdx

# ---- start: exit(main(argc, argv)) ----
:start
  pop_rax                     ; the number of arguments, with the program's name
  mov_rcx,rsp                 ; the addresses of the arguments, and 0
  push_rax
  push_rcx
  call %main.2
  mov_edi,eax
  push_i8 1'60
  pop_rax
  syscall                     ; exit(edi)

# ---- syscall(number, a, b, c): what Linux returns; an error is -4095 to -1 ----
:syscall.4
  mov_rax,[rsp+32]
  mov_rdi,[rsp+24]
  mov_rsi,[rsp+16]
  mov_rdx,[rsp+8]
  syscall
  ret
