# hex0.S: the program of hex0.hex0 once more, for GNU as: a second way to the
# bytes of the seed. hex0.hex0 says what each line is for.
#
#   as --32 -o hex0.o hex0.S && objcopy -O binary -j .text hex0.o hex0
        .intel_syntax noprefix
        .code32
        .text
        .equ BASE, 0x400000
        .equ BUF,  0x500000
# hex0 OUT IN...: reads hexadecimal digits from the files IN, in order, and
# writes the bytes that they spell to OUT.
#
# The language: two hexadecimal digits, upper or lower case, are one byte, the
# high half first. "#" and ";" begin a comment that ends with the line. Blanks
# and control characters, all bytes up to 20, mean nothing, also between the two
# digits of a byte. Everything else is an error, and so is an odd number of
# digits. Input of more than some 8 MiB is an error.
#
# Every error ends with exit status 1. Nothing is written before the whole input
# has been read and found good.
#
# Each line below has the bytes, the address at which Linux puts them, and what
# they mean. Numbers are hexadecimal; in the file, the lowest byte comes first.

# ---- ELF header, 34 bytes ----
hdr:
        .byte 0x7f, 0x45, 0x4c, 0x46  # 7F, then "ELF": the file's type
        .byte 1, 1, 1, 0              # 32 bits, low byte first, ELF version 1, System V
        .long 0, 0                    # nothing
        .word 2, 3                    # an executable, for Intel 80386
        .long 1                       # ELF version 1
        .long start - hdr + BASE      # begin at 400054, the label start
        .long 0x34                    # the program header is at offset 34
        .long 0, 0                    # no section headers; no flags
        .word 0x34, 0x20, 1           # this header: 34 bytes; a program header: 20, there is 1
        .word 0, 0, 0                 # section headers: none

# ---- program header, 20 bytes: one segment, the whole file and the buffer ----
        .long 1                       # load it
        .long 0                       # from offset 0 of the file
        .long BASE                    # to address 400000,
        .long BASE                    # the same, where such a thing exists, in physical memory
        .long end - hdr               # so many bytes from the file,
        .long 0x900000                # and zeros up to address D00000: the buffer
        .long 7                       # to be read, written and executed
        .long 0x1000                  # in pages of 1000 bytes

# ---- the program: first, read all of the input into the buffer ----
# Linux starts it with the number of arguments on the stack, then the address of
# each argument (the program's name, OUT, IN...), then 0. In memory is
#
#   500000  BUF: the input, and later the output, up to address D00000
#
# and in registers
#
#   edi  end of the input          ebp  address of the name OUT
#   esi  next byte of the input    ebx  next byte of the output
start:
        mov edi, BUF                  # nothing has been read
        mov esi, edi                  # reading begins where the input does
        pop eax                       # the number of arguments
        pop eax                       # the name of this program
        pop ebp                       # OUT
file:                                 # for each IN:
        pop ebx                       # its name
        test ebx, ebx
        jz convert                    # 0: that was all
        xor ecx, ecx                  # to be read only
        push 5
        pop eax
        int 0x80                      # open(IN, O_RDONLY)
        xchg ebx, eax                 # ebx = the open file, or an error, with which read fails
more:
        push 3
        pop eax
        mov ecx, edi                  # to the end of what has been read,
        mov edx, edi                  # as much as there is: Linux stops where the buffer ends
        int 0x80                      # read(file, edi, much)
        add edi, eax                  # so much longer is the input
        test eax, eax
        jg more                       # there may be more
        jz file                       # the end of this IN
fail:                                 # an error
        push 1
        pop ebx
exit:                                 # with status ebx
        push 1
        pop eax
        int 0x80                      # exit(ebx)

# ---- convert, in the same buffer: output is always shorter than its input ----
convert:
        mov ebx, esi                  # writing begins where reading does
fresh:                                # a new byte
        push 1
        pop edx                       # edx = 1, and then each digit is shifted in from below
next:
        cmp esi, edi
        je done                       # the end of the input
        lodsb                         # al = the next character
        cmp al, 0x23                  # "#"
        je comment
        cmp al, 0x3b                  # ";"
        je comment
        cmp al, 0x20                  # a blank, or a control character,
        jbe next                      # means nothing
        sub al, 0x30                  # "0" to "9" become 0 to 9,
        cmp al, 9
        jbe digit                     # and are done
        and al, 0xdf                  # "A" to "F" are 11 to 16 now; "a" to "f" lose 20 to be the same
        sub al, 0x11                  # 0 to 5
        cmp al, 5
        ja fail                       # nothing else is allowed
        add al, 0x0a                  # 0A to 0F
digit:                                # al = the value of a digit
        shl edx, 4
        or dl, al                     # edx = 1h after one digit h, 1hl after two
        test dh, dh                   # dh = 1 after two digits
        jz next
        mov [ebx], dl                 # the byte
        inc ebx
        jmp fresh
comment:                              # up to the end of the line
        cmp esi, edi
        je done
        lodsb
        cmp al, 0x0a                  # the end of the line
        jne comment
        jmp next

# ---- write OUT ----
done:
        dec edx                       # edx = 0,
        jnz fail                      # unless half a byte is left
        mov esi, BUF                  # where the output begins
        sub ebx, esi                  # its length
        xchg edi, ebx                 # edi = its length
        mov ebx, ebp                  # OUT
        mov ecx, 0x241                # O_WRONLY 1, O_CREAT 40, O_TRUNC 200
        mov edx, 0x1ed                # mode rwxr-xr-x, octal 755
        push 5
        pop eax
        int 0x80                      # open(OUT, flags, mode)
        xchg ebx, eax                 # ebx = the open file
        mov ecx, edx
        push 0x5e
        pop eax
        int 0x80                      # fchmod(file, mode): whatever the umask is
        mov ecx, esi
        mov edx, edi
        push 4
        pop eax
        int 0x80                      # write(file, esi, edi)
        xor ebx, ebx                  # status 0,
        cmp eax, edx
        jne fail                      # if all of it has been written
        jmp exit
end:
