# amd64.m: the instructions of x86-64 that the ladder's programs use, for the
# macro assembler m. It is the first file of every program.
#
# A name is what GNU as understands, in Intel's order, with "_" for the blank and
# without "ptr": mov_rax,[rbp+16] is "mov rax, [rbp+16]". i8, i16, i32 and i64 stand
# for numbers of so many bits, and follow in their order: add_rsp,i8 1'8. Jumps and
# calls are followed by a label: %label, four bytes, or after the short ones, which
# end with 8, !label.

# ---- moves ----
def lea_rax,[rbp+i32]        48 8D 85
def lea_rax,[rbx+4]          48 8D 43 04
def lea_rax,[rcx+rax*8]      48 8D 04 C1
def lea_rbp,[rdx+24]         48 8D 6A 18
def lea_rdx,[rdx+rax*8]      48 8D 14 C2
def leave                    C9
def lodsb                    AC
def mov_[i32],rax            48 89 04 25
def mov_[i32],rbx            48 89 1C 25
def mov_[i32],rdx            48 89 14 25
def mov_[i32],rsi            48 89 34 25
def mov_[rax*8+i32],rbx      48 89 1C C5
def mov_[rbx-1],cl           88 4B FF
def mov_[rbx-4],ecx          89 4B FC
def mov_[rbx],al             88 03
def mov_[rbx],dl             88 13
def mov_[rbx],ecx            89 0B
def mov_[rcx+24],rax         48 89 41 18
def mov_[rcx],al             88 01
def mov_[rcx],rax            48 89 01
def mov_[rdi],rax            48 89 07
def mov_[rdi],rsi            48 89 37
def mov_[rdx+16],rax         48 89 42 10
def mov_[rdx+16],rbx         48 89 5A 10
def mov_[rdx+24],rax         48 89 42 18
def mov_[rdx+24],rcx         48 89 4A 18
def mov_[rdx+8],r15          4C 89 7A 08
def mov_[rdx+8],rcx          48 89 4A 08
def mov_[rdx],r14            4C 89 32
def mov_[rdx],rax            48 89 02
def mov_al,[rdx]             8A 02
def mov_al,[rsi]             8A 06
def mov_al,i8                B0
def mov_byte[rsi-1],i8       C6 46 FF
def mov_cl,al                88 C1
def mov_cl,i8                B1
def mov_dl,[r14+rcx-1]       41 8A 54 0E FF
def mov_dl,[rax]             8A 10
def mov_eax,[i32]            8B 04 25
def mov_eax,[rdx+4]          8B 42 04
def mov_eax,[rdx+8]          8B 42 08
def mov_eax,[rdx]            8B 02
def mov_eax,ebp              89 E8
def mov_eax,ecx              89 C8
def mov_eax,i32              B8
def mov_ebp,eax              89 C5
def mov_ebp,i32              BD
def mov_ebx,eax              89 C3
def mov_ebx,i32              BB
def mov_ecx,[i32]            8B 0C 25
def mov_ecx,[rdx+16]         8B 4A 10
def mov_ecx,[rdx+8]          8B 4A 08
def mov_ecx,[rdx]            8B 0A
def mov_ecx,eax              89 C1
def mov_ecx,i32              B9
def mov_edi,[i32]            8B 3C 25
def mov_edi,eax              89 C7
def mov_edi,ebp              89 EF
def mov_edi,ebx              89 DF
def mov_edi,i32              BF
def mov_edi,r14d             44 89 F7
def mov_edx,eax              89 C2
def mov_edx,ecx              89 CA
def mov_edx,i32              BA
def mov_esi,edx              89 D6
def mov_esi,i32              BE
def mov_qword[i32],i32       48 C7 04 25
def mov_r12d,i32             41 BC
def mov_r13,rax              49 89 C5
def mov_r13,rsi              49 89 F5
def mov_r13d,eax             41 89 C5
def mov_r13d,i32             41 BD
def mov_r14,rsi              49 89 F6
def mov_r14d,eax             41 89 C6
def mov_r15,[rdx+24]         4C 8B 7A 18
def mov_r15,rax              49 89 C7
def mov_r15,rsi              49 89 F7
def mov_rax,[i32]            48 8B 04 25
def mov_rax,[rax]            48 8B 00
def mov_rax,[rbp+i32]        48 8B 85
def mov_rax,[rdx+16]         48 8B 42 10
def mov_rax,[rdx+24]         48 8B 42 18
def mov_rax,[rsp+32]         48 8B 44 24 20
def mov_rax,i64              48 B8
def mov_rax,r15              4C 89 F8
def mov_rax,rbx              48 89 D8
def mov_rax,rdx              48 89 D0
def mov_rax,rsi              48 89 F0
def mov_rbp,rsp              48 89 E5
def mov_rbx,[i32]            48 8B 1C 25
def mov_rbx,rbp              48 89 EB
def mov_rcx,[i32]            48 8B 0C 25
def mov_rcx,[rax*8+i32]      48 8B 0C C5
def mov_rcx,[rdx+16]         48 8B 4A 10
def mov_rcx,[rdx+24]         48 8B 4A 18
def mov_rcx,[rdx+8]          48 8B 4A 08
def mov_rcx,i64              48 B9
def mov_rcx,r15              4C 89 F9
def mov_rcx,rax              48 89 C1
def mov_rcx,rsi              48 89 F1
def mov_rcx,rsp              48 89 E1
def mov_rdi,[rsi]            48 8B 3E
def mov_rdi,[rsp+24]         48 8B 7C 24 18
def mov_rdi,r14              4C 89 F7
def mov_rdi,rax              48 89 C7
def mov_rdx,[i32]            48 8B 14 25
def mov_rdx,[rdx]            48 8B 12
def mov_rdx,[rsp+8]          48 8B 54 24 08
def mov_rdx,r12              4C 89 E2
def mov_rdx,r14              4C 89 F2
def mov_rdx,rbx              48 89 DA
def mov_rsi,[rdx]            48 8B 32
def mov_rsi,[rsp+16]         48 8B 74 24 10
def mov_rsi,r12              4C 89 E6
def mov_rsi,r13              4C 89 EE
def mov_rsi,r14              4C 89 F6
def mov_rsi,rax              48 89 C6
def mov_rsi,rbx              48 89 DE
def movsx_rax,cl             48 0F BE C1
def movsxd_rcx,dword[i32]    48 63 0C 25
def movzx_eax,al             0F B6 C0
def movzx_eax,byte[rax]      0F B6 00
def movzx_ecx,word[r14]      41 0F B7 0E
def movzx_r15d,al            44 0F B6 F8
def pop_r14                  41 5E
def pop_r15                  41 5F
def pop_rax                  58
def pop_rbp                  5D
def pop_rcx                  59
def pop_rdi                  5F
def pop_rdx                  5A
def pop_rsi                  5E
def push_i8                  6A
def push_r14                 41 56
def push_r15                 41 57
def push_rax                 50
def push_rbp                 55
def push_rcx                 51
def push_rdi                 57
def push_rdx                 52
def push_rsi                 56

# ---- arithmetic ----
def add_al,i8                04
def add_ebp,eax              01 C5
def add_r12,rax              49 01 C4
def add_rax,i8               48 83 C0
def add_rax,rcx              48 01 C8
def add_rbx,i8               48 83 C3
def add_rbx,rax              48 01 C3
def add_rdi,i8               48 83 C7
def add_rdx,i8               48 83 C2
def add_rsi,i8               48 83 C6
def add_rsp,i32              48 81 C4
def and_al,i8                24
def and_rax,rcx              48 21 C8
def cqo                      48 99
def dec_dword[i32]           FF 0C 25
def dec_ecx                  FF C9
def dec_edx                  FF CA
def dec_r14                  49 FF CE
def dec_rsi                  48 FF CE
def idiv_rcx                 48 F7 F9
def imul_rax,rcx             48 0F AF C1
def inc_dword[i32]           FF 04 25
def inc_dword[rsp]           FF 04 24
def inc_eax                  FF C0
def inc_ebp                  FF C5
def inc_ecx                  FF C1
def inc_rax                  48 FF C0
def inc_rbx                  48 FF C3
def inc_rdx                  48 FF C2
def inc_rsi                  48 FF C6
def mul_ecx                  F7 E1
def mul_rdi                  48 F7 E7
def neg_ebp                  F7 DD
def neg_rax                  48 F7 D8
def not_rax                  48 F7 D0
def or_al,cl                 08 C8
def or_al,dl                 08 D0
def or_al,i8                 0C
def or_dl,al                 08 C2
def or_eax,edx               09 D0
def or_rax,rcx               48 09 C8
def sar_eax,cl               D3 F8
def shl_al,i8                C0 E0
def shl_eax,i8               C1 E0
def shl_ecx,i8               C1 E1
def shl_edx,i8               C1 E2
def shl_rax,cl               48 D3 E0
def shl_rcx,i8               48 C1 E1
def shl_rdx,i8               48 C1 E2
def shr_al,i8                C0 E8
def shr_eax,cl               D3 E8
def shr_ebp,i8               C1 ED
def shr_rax,cl               48 D3 E8
def shr_rax,i8               48 C1 E8
def shr_rcx,i8               48 C1 E9
def sub_al,i8                2C
def sub_r15,r14              4D 29 F7
def sub_rax,[i32]            48 2B 04 25
def sub_rax,rbp              48 29 E8
def sub_rax,rcx              48 29 C8
def sub_rcx,i32              48 81 E9
def sub_rcx,i8               48 83 E9
def sub_rcx,rax              48 29 C1
def sub_rcx,rbx              48 29 D9
def sub_rdx,i8               48 83 EA
def sub_rdx,r13              4C 29 EA
def sub_rdx,rbx              48 29 DA
def sub_rdx,rsi              48 29 F2
def sub_rsi,i8               48 83 EE
def sub_rsi,rcx              48 29 CE
def xor_eax,eax              31 C0
def xor_ebp,ebp              31 ED
def xor_ecx,ecx              31 C9
def xor_edi,edi              31 FF
def xor_edx,edx              31 D2
def xor_esi,esi              31 F6
def xor_r10d,r10d            45 31 D2
def xor_r13d,r13d            45 31 ED
def xor_r15d,r15d            45 31 FF
def xor_rax,rcx              48 31 C8

# ---- comparisons ----
def cmp_[i32],rcx            48 39 0C 25
def cmp_[rdx+4],eax          39 42 04
def cmp_[rdx+8],r15          4C 39 7A 08
def cmp_[rdx+8],rcx          48 39 4A 08
def cmp_al,i8                3C
def cmp_byte[r13],i8         41 80 7D 00
def cmp_byte[rax+1],i8       80 78 01
def cmp_byte[rax+2],i8       80 78 02
def cmp_byte[rsi],i8         80 3E
def cmp_cl,i8                80 F9
def cmp_dl,i8                80 FA
def cmp_dword[i32],i8        83 3C 25
def cmp_dword[rdx+12],i8     83 7A 0C
def cmp_eax,eax              39 C0
def cmp_eax,ecx              39 C8
def cmp_eax,edi              39 F8
def cmp_eax,i8               83 F8
def cmp_ebp,i8               83 FD
def cmp_ecx,i32              81 F9
def cmp_ecx,i8               83 F9
def cmp_ecx,r13d             44 39 E9
def cmp_edi,i8               83 FF
def cmp_qword[i32],i8        48 83 3C 25
def cmp_qword[rdx+16],i8     48 83 7A 10
def cmp_r13d,eax             41 39 C5
def cmp_r13d,i32             41 81 FD
def cmp_rax,i32              48 3D
def cmp_rax,r13              4C 39 E8
def cmp_rax,rax              48 39 C0
def cmp_rax,rcx              48 39 C8
def cmp_rax,rdx              48 39 D0
def cmp_rbx,[i32]            48 3B 1C 25
def cmp_rbx,i32              48 81 FB
def cmp_rcx,[i32]            48 3B 0C 25
def cmp_rcx,i8               48 83 F9
def cmp_rcx,rax              48 39 C1
def cmp_rcx,rbp              48 39 E9
def cmp_rdi,i32              48 81 FF
def cmp_rdx,[i32]            48 3B 14 25
def cmp_rdx,i32              48 81 FA
def cmp_rdx,rbp              48 39 EA
def cmp_rsi,[i32]            48 3B 34 25
def cmp_rsi,r12              4C 39 E6
def cmp_rsi,r14              4C 39 F6
def cmp_word[rax],i16        66 81 38
def cmp_word[rsi],i16        66 81 3E
def repe_cmpsb               F3 A6
def sete_al                  0F 94 C0
def setg_al                  0F 9F C0
def setge_al                 0F 9D C0
def setl_al                  0F 9C C0
def setle_al                 0F 9E C0
def setne_al                 0F 95 C0
def test_al,al               84 C0
def test_cl,i8               F6 C1
def test_dh,dh               84 F6
def test_eax,eax             85 C0
def test_ebp,ebp             85 ED
def test_ecx,ecx             85 C9
def test_edx,edx             85 D2
def test_rax,rax             48 85 C0
def test_rcx,rcx             48 85 C9
def test_rdi,rdi             48 85 FF

# ---- jumps ----
def call                     E8
def ja                       0F 87
def ja8                      77
def jae                      0F 83
def jb                       0F 82
def jb8                      72
def jbe                      0F 86
def jbe8                     76
def jc                       0F 82
def je                       0F 84
def je8                      74
def jg8                      7F
def jmp                      E9
def jmp8                     EB
def jne                      0F 85
def jne8                     75
def jns8                     79
def jnz                      0F 85
def jnz8                     75
def js8                      78
def jz                       0F 84
def jz8                      74
def ret                      C3

# ---- Linux ----
def rol_eax,i8               C1 C0
def syscall                  0F 05
