// Matrix products over panels. A is cut into panels of ROWS rows and B into panels of COLUMNS columns; a panel
// holds, for every k, its rows (columns) side by side, as R: packing transposes, widens bf16, takes patches out of
// images and fills up with zeros, so that one kernel multiplies whatever the operands were. A work item computes
// ROWS x COLUMNS results in registers. No two work items share a result, and each sum runs in the order of k.

#define ROWS 6
#define COLUMNS 16
#define BLOCK 128  // terms that are summed before their sum is added: rounding errors grow with the blocks' number
#if defined(T_f64)
typedef double8 R8;
#else
typedef float8 R8;
#endif

// Row m of the results stands for (m / (rows_h rows_w), .., ..) and lies at y + offset + those . (y_n, y_h, y_w).
typedef struct {
  long m, n, k;
  long a_batch, b_batch, y_batch;  // elements from one batch to the next
  long first_row;                  // of this launch
  long rows_h, rows_w, y_n, y_h, y_w, offset;
  long add, kind;
} Product;

void store_row(global void* y, long at, const R8* sums, long columns, long add, int kind) {
  R value[COLUMNS];
  vstore8(sums[0], 0, value);
  vstore8(sums[1], 1, value);
  for (long j = 0; j < columns; ++j)
    store_result(y, at + j, add ? ((global const R*)y)[at + j] + value[j] : value[j], kind);
}

kernel void multiply(global const R* a, global const R* b, global void* y, Product p) {
  const long j = get_global_id(0), i = get_global_id(1), z = get_global_id(2);
  const long first = i * ROWS, columns = min(p.n - j * COLUMNS, (long)COLUMNS);
  if (first >= p.m || columns <= 0) return;
  global const R* left = a + z * p.a_batch + i * p.k * ROWS;
  global const R* right = b + z * p.b_batch + j * p.k * COLUMNS;
  R8 sums[ROWS][2];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) sums[r][0] = sums[r][1] = (R8)(0);
  for (long block = 0; block < p.k; block += BLOCK) {
    R8 some[ROWS][2];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) some[r][0] = some[r][1] = (R8)(0);
    const int length = (int)min(p.k - block, (long)BLOCK);
    for (int k = 0; k < length; ++k) {
      const R8 b0 = vload8(0, right), b1 = vload8(1, right);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const R8 value = (R8)(left[r]);
        some[r][0] = fma(value, b0, some[r][0]);
        some[r][1] = fma(value, b1, some[r][1]);
      }
      left += ROWS;
      right += COLUMNS;
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      sums[r][0] += some[r][0];
      sums[r][1] += some[r][1];
    }
  }
  const int direct = p.kind == (sizeof(R) == 8 ? RESULT_F64 : RESULT_F32) && columns == COLUMNS;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const long m = p.first_row + first + r;
    if (first + r >= p.m) return;
    const long row = m / p.rows_w, image = row / p.rows_h;
    const long at = p.offset + z * p.y_batch + image * p.y_n + (row - image * p.rows_h) * p.y_h +
                    (m - row * p.rows_w) * p.y_w + j * COLUMNS;
    if (direct) {
      if (p.add) {
        sums[r][0] += vload8(0, (global const R*)y + at);
        sums[r][1] += vload8(1, (global const R*)y + at);
      }
      vstore8(sums[r][0], 0, (global R*)y + at);
      vstore8(sums[r][1], 1, (global R*)y + at);
    } else {
      store_row(y, at, sums[r], columns, p.add, (int)p.kind);
    }
  }
}

// Element (row, k) of batch z lies at from + z batch + row row_step + the place of k = (k0, k1, k2) along k_step.
// Beyond k_limit - z k_batch there is nothing: zeros.
typedef struct {
  long rows, first_row, width, k;
  long k_first, k_size1, k_size2, k_step0, k_step1, k_step2;
  long batch, row_step, to_batch;
  long k_limit, k_batch;
} Matrix;

kernel void pack_matrix(global const T* from, global R* to, Matrix p) {
  const long k = get_global_id(0), panel = get_global_id(1), z = get_global_id(2);
  if (k >= p.k) return;
  global R* cell = to + z * p.to_batch + (panel * p.k + k) * p.width;
  const long place = p.k_first + k + z * p.k_batch;
  if (place >= p.k_limit) {
    for (long r = 0; r < p.width; ++r) cell[r] = 0;
    return;
  }
  const long k12 = place / p.k_size2, k0 = k12 / p.k_size1;
  const long first = p.first_row + panel * p.width;
  const long start = z * p.batch + first * p.row_step + k0 * p.k_step0 + (k12 - k0 * p.k_size1) * p.k_step1 +
                     (place - k12 * p.k_size2) * p.k_step2;
  const long rows = min(p.rows - first, p.width);
  if (p.row_step == 1) {
    for (long r = 0; r < rows; ++r) cell[r] = LOAD(from, start + r);
  } else {
    for (long r = 0; r < rows; ++r) cell[r] = LOAD(from, start + r * p.row_step);
  }
  for (long r = rows; r < p.width; ++r) cell[r] = 0;
}

// Patches of images [.., h, w, c]: pixel (n, p, q) of rows_h x rows_w and tap (s, t) meet at
//   (base_h + p step_h + s tap_h, base_w + q step_w + t tap_w).
typedef struct {
  long h, w, c;
  long rows, first_row, rows_h, rows_w;
  long base_h, base_w, step_h, step_w, tap_h, tap_w, taps_w;
  long first_tap, taps, first_channel, channels;
  long k, k_first, k_batch, k_limit, to_batch;  // pack_patch_columns: pixels of each part
} Patches;

// Where the tap's pixel begins in the image, or -1 where it lies outside.
long patch_of(const Patches* p, long pixel, long tap) {
  const long row = pixel / p->rows_w, n = row / p->rows_h;
  const long h = p->base_h + (row - n * p->rows_h) * p->step_h + tap / p->taps_w * p->tap_h;
  const long w = p->base_w + (pixel - row * p->rows_w) * p->step_w + tap % p->taps_w * p->tap_w;
  if (h < 0 || h >= p->h || w < 0 || w >= p->w) return -1;
  return ((n * p->h + h) * p->w + w) * p->c;
}

// Rows are pixels, k runs over taps and channels: a work item takes one tap of one panel.
kernel void pack_patch_rows(global const T* x, global R* to, Patches p) {
  const long tap = get_global_id(0), panel = get_global_id(1);
  if (tap >= p.taps) return;
  long at[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const long pixel = panel * ROWS + r;
    at[r] = pixel < p.rows ? patch_of(&p, p.first_row + pixel, p.first_tap + tap) : -1;
  }
  global R* cell = to + (panel * p.taps + tap) * p.channels * ROWS;
  for (long i = p.first_channel; i < p.first_channel + p.channels; ++i) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) cell[r] = at[r] < 0 ? (R)0 : LOAD(x, at[r] + i);
    cell += ROWS;
  }
}

// Columns are taps and channels, k runs over pixels: a work item takes one tap of one pixel.
kernel void pack_patch_columns(global const T* x, global R* to, Patches p) {
  const long l = get_global_id(0), tap = get_global_id(1), z = get_global_id(2);
  if (l >= p.k) return;
  const long pixel = p.k_first + l + z * p.k_batch;
  const long at = pixel < p.k_limit ? patch_of(&p, pixel, tap) : -1;
  long column = tap * p.c;
  for (long i = 0; i < p.c; ++i, ++column) {
    const long panel = column / COLUMNS;
    to[z * p.to_batch + (panel * p.k + l) * COLUMNS + column - panel * COLUMNS] = at < 0 ? (R)0 : LOAD(x, at + i);
  }
}
