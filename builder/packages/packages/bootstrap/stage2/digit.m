# digit.m: the value of the hexadecimal digit al, in al; goes to wrong if it is
# none.
:digit
  sub_al,i8 1'0x30            ; "0" to "9" become 0 to 9,
  cmp_al,i8 1'9
  jbe8 !digit_end             ; and are done
  and_al,i8 1'0xdf            ; "A" to "F" are 11 to 16 now; "a" to "f" lose 20 to be the same
  sub_al,i8 1'0x11            ; 0 to 5
  cmp_al,i8 1'5
  ja %wrong                   ; nothing else is allowed
  add_al,i8 1'0x0a            ; 0A to 0F
:digit_end
  ret
