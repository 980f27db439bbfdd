# elf.m: the beginning of each program for Linux on x86-64, 176 bytes. It comes
# after amd64.m and before the program, which defines the label start; the last
# file is end.m, which defines the label end.
#
# The file is at address 400000, to be read and executed. From 10000000 to
# 14000000 are 64 MiB of zeros, to be read and written. Nothing is both written
# and executed.

# ---- ELF header, 64 bytes ----
  7F "ELF"                    ; the file's type
  02 01 01 00                 ; 64 bits, low byte first, ELF version 1, System V
  4'0 4'0                     ; nothing
  2'2 2'62                    ; an executable, for x86-64
  4'1                         ; ELF version 1
  &start 4'0                  ; begin at the label start
  4'64 4'0                    ; the program headers are at offset 64
  4'0 4'0                     ; no section headers
  4'0                         ; no flags
  2'64 2'56 2'2               ; this header: 64 bytes; a program header: 56, there are 2
  2'64 2'0 2'0                ; section headers: none

# ---- program headers, 56 bytes each ----
  4'1 4'5                     ; load, to be read and executed,
  4'0 4'0                     ; from offset 0 of the file
  4'0x400000 4'0              ; to this address,
  4'0x400000 4'0              ; the same, where such a thing exists, in physical memory
  <end 4'0                    ; so many bytes from the file,
  <end 4'0                    ; and no more
  4'0x1000 4'0                ; in pages of this size

  4'1 4'6                     ; load, to be read and written,
  4'0 4'0                     ; from offset 0 of the file
  4'0x10000000 4'0            ; to this address,
  4'0x10000000 4'0            ; the same, where such a thing exists, in physical memory
  4'0 4'0                     ; nothing from the file,
  4'0x4000000 4'0             ; and so many zeros
  4'0x1000 4'0                ; in pages of this size
