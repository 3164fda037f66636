// Kernels that move elements of 1, 2, 4 or 8 bytes and never look at them, so that every NaN arrives as it was.

kernel void fill(global T* y, long n, T value) {
  const long i = get_global_id(0);
  if (i < n) y[i] = value;
}

// Operands of the walk: x, y.
kernel void strided_copy(global const T* x, long x_offset, global T* y, long y_offset, Walk walk) {
  WALK(walk, column, row)
  y[y_offset + OFFSET(walk, 1, column, row)] = x[x_offset + OFFSET(walk, 0, column, row)];
}

// Operands of the walk: a, b, condition.
kernel void where(global const uchar* condition, global const T* a, global const T* b, global T* y, Walk walk) {
  WALK(walk, column, row)
  const long ia = OFFSET(walk, 0, column, row), ib = OFFSET(walk, 1, column, row);
  y[row * walk.inner + column] = condition[OFFSET(walk, 2, column, row)] ? a[ia] : b[ib];
}

// y[n, m] = x[n, index[n, m]]
kernel void gather(global const T* x, global const int* index, global T* y, long s, long m, long count) {
  const long i = get_global_id(0);
  if (i < count) y[i] = x[i / m * s + index[i]];
}
