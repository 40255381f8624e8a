"""What a tokenizer's kernel and its caller tell each other in an array of eight int64."""

# numba's cache of `_kernels/tokens.py` does not see changes here: change that file too.

# Places: what happened; the next byte; rows done; edges up to here, or the depth and mode of a
# scan; the field or byte that is wrong.
STATUS, POS, ROW, EDGES, FIELD = 0, 1, 2, 3, 4

# What happened. MORE: the block is used up. END: the array or value is complete.
# FULL: a row more than the columns hold. SYNTAX: no number or comma at FIELD.
# WIDE: an id or size beyond the column's width. RANGE: field FIELD of row ROW is out of range.
MORE, END, FULL, SYNTAX, WIDE, RANGE = 0, 1, 2, 3, 4, 5

# Places in an array of eight int64.
LENGTH = 8
