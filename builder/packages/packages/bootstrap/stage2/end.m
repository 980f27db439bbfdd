# end.m: the end of each program.
:end
