// Convolutions of 3x3 taps with stride 1 by Winograd's algorithm F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2015): pieces of 4x4 results from 6x6 pixels, by 36 products where there would be
// 144. Along one axis
//   y = A^T [(G w) * (B^T x)],
// matrices that come from evaluating polynomials at 0, +-a, +-b and infinity with M(x) = x (x^2 - a^2) (x^2 - b^2):
// row p of A is (1, p, p^2, p^3), of G (1, p, p^2) / M'(p), of B^T the coefficients of M(x) / (x - p). With a = 5/8
// and b = 3/2 the sums lose fewer bits than with the usual 1 and 2.
//
// Transforms run on 8 channels at a time. Plane z = 6 i + j of the 36 is a product of its own: panels of
// kernels/product.cl, A's rows being pieces and B's columns the results' channels.

#define ROWS 6
#define COLUMNS 16
#define A1 0.625f
#define B1 1.5f
#define A2 (A1 * A1)
#define B2 (B1 * B1)

#if defined(T_bf16)
#define LOAD8(p, i) as_float8(convert_uint8(vload8(0, (p) + (i))) << 16)
#else
#define LOAD8(p, i) vload8(0, (p) + (i))
#endif

// B^T
void to_planes(const float8* d, float8* out) {
  out[0] = fma((float8)(A2 * B2), d[0], fma((float8)(-(A2 + B2)), d[2], d[4]));
  const float8 even_a = fma((float8)(-B2), d[2], d[4]), odd_a = A1 * fma((float8)(-B2), d[1], d[3]);
  const float8 even_b = fma((float8)(-A2), d[2], d[4]), odd_b = B1 * fma((float8)(-A2), d[1], d[3]);
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = fma((float8)(A2 * B2), d[1], fma((float8)(-(A2 + B2)), d[3], d[5]));
}

// G
void weight_to_planes(const float8* w, float8* out) {
  const float8 even_a = fma((float8)(A2), w[2], w[0]), odd_a = A1 * w[1];
  const float8 even_b = fma((float8)(B2), w[2], w[0]), odd_b = B1 * w[1];
  out[0] = w[0] * (1 / (A2 * B2));
  out[1] = (even_a + odd_a) * (1 / (2 * A2 * (A2 - B2)));
  out[2] = (even_a - odd_a) * (1 / (2 * A2 * (A2 - B2)));
  out[3] = (even_b + odd_b) * (1 / (2 * B2 * (B2 - A2)));
  out[4] = (even_b - odd_b) * (1 / (2 * B2 * (B2 - A2)));
  out[5] = w[2];
}

// A^T
void from_planes(const float8* m, float8* out) {
  const float8 sum_a = m[1] + m[2], odd_a = A1 * (m[1] - m[2]), sum_b = m[3] + m[4], odd_b = B1 * (m[3] - m[4]);
  out[0] = m[0] + sum_a + sum_b;
  out[1] = odd_a + odd_b;
  out[2] = fma((float8)(A2), sum_a, B2 * sum_b);
  out[3] = fma((float8)(A2), odd_a, fma((float8)(B2), odd_b, m[5]));
}

typedef struct {
  long h, w, channels;          // of the images
  long out_h, out_w, columns;   // of the results
  long pad_h, pad_w;
  long down, across;            // pieces of one image
  long first, pieces;           // of this launch
  long step_n, step_k, step_tap, flip;  // of the weight
  long a_plane, b_plane, m_plane;       // elements from one plane to the next
  long kind;
} Winograd;

// Columns 8 j to 8 j + 7 of B for one k.
kernel void transform_weight(global const T* weight, global float* to, Winograd p) {
  const long k = get_global_id(0), eight = get_global_id(1);
  if (k >= p.channels || eight * 8 >= p.columns) return;
  float8 taps[9], half_way[6][3], planes[6];
  for (int tap = 0; tap < 9; ++tap) {
    const long at = eight * 8 * p.step_n + k * p.step_k + (p.flip ? 8 - tap : tap) * p.step_tap;
    if (p.step_n == 1) {
      taps[tap] = LOAD8(weight, at);
    } else {
      float lane[8];
      for (int l = 0; l < 8; ++l) lane[l] = LOAD(weight, at + l * p.step_n);
      taps[tap] = vload8(0, lane);
    }
  }
  for (int s = 0; s < 3; ++s) {
    const float8 column[3] = {taps[s], taps[3 + s], taps[6 + s]};
    weight_to_planes(column, planes);
    for (int i = 0; i < 6; ++i) half_way[i][s] = planes[i];
  }
  global float* cell = to + ((eight / 2) * p.channels + k) * COLUMNS + (eight & 1) * 8;
  for (int i = 0; i < 6; ++i) {
    weight_to_planes(half_way[i], planes);
    for (int j = 0; j < 6; ++j) vstore8(planes[j], 0, cell + (6 * i + j) * p.b_plane);
  }
}

// Channels 8 k to 8 k + 7 of one piece.
kernel void transform_image(global const T* x, global float* to, Winograd p) {
  const long eight = get_global_id(0), piece = get_global_id(1);
  if (eight * 8 >= p.channels || piece >= p.pieces) return;
  const long place = p.first + piece, line = place / p.across, n = line / p.down;
  const long top = (line - n * p.down) * 4 - p.pad_h, left = (place - line * p.across) * 4 - p.pad_w;
  float8 half_way[6][6], planes[6];
  for (int c = 0; c < 6; ++c) {
    float8 column[6];
    const long w = left + c;
    for (int r = 0; r < 6; ++r) {
      const long h = top + r;
      const bool inside = h >= 0 && h < p.h && w >= 0 && w < p.w;
      column[r] = inside ? LOAD8(x, ((n * p.h + h) * p.w + w) * p.channels + eight * 8) : (float8)(0);
    }
    to_planes(column, planes);
    for (int i = 0; i < 6; ++i) half_way[i][c] = planes[i];
  }
  global float* cell = to + ((piece / ROWS) * p.channels + eight * 8) * ROWS + piece % ROWS;
  for (int i = 0; i < 6; ++i) {
    to_planes(half_way[i], planes);
    for (int j = 0; j < 6; ++j) {
      global float* plane = cell + (6 * i + j) * p.a_plane;
      plane[0] = planes[j].s0;
      plane[ROWS] = planes[j].s1;
      plane[2 * ROWS] = planes[j].s2;
      plane[3 * ROWS] = planes[j].s3;
      plane[4 * ROWS] = planes[j].s4;
      plane[5 * ROWS] = planes[j].s5;
      plane[6 * ROWS] = planes[j].s6;
      plane[7 * ROWS] = planes[j].s7;
    }
  }
}

// Channels 8 o to 8 o + 7 of one piece's results.
kernel void transform_result(global const float* products, global void* y, Winograd p) {
  const long eight = get_global_id(0), piece = get_global_id(1);
  if (eight * 8 >= p.columns || piece >= p.pieces) return;
  float8 half_way[4][6], out[4];
  for (int j = 0; j < 6; ++j) {
    float8 column[6];
    for (int i = 0; i < 6; ++i)
      column[i] = vload8(0, products + (6 * i + j) * p.m_plane + piece * p.columns + eight * 8);
    from_planes(column, out);
    for (int r = 0; r < 4; ++r) half_way[r][j] = out[r];
  }
  const long place = p.first + piece, line = place / p.across, n = line / p.down;
  const long top = (line - n * p.down) * 4, left = (place - line * p.across) * 4;
  for (int r = 0; r < 4 && top + r < p.out_h; ++r) {
    from_planes(half_way[r], out);
    for (int c = 0; c < 4 && left + c < p.out_w; ++c) {
      const long at = ((n * p.out_h + top + r) * p.out_w + left + c) * p.columns + eight * 8;
      if (p.kind == RESULT_F32) {
        vstore8(out[c], 0, (global float*)y + at);
      } else {
        float lane[8];
        vstore8(out[c], 0, lane);
        for (int l = 0; l < 8; ++l) store_result(y, at + l, lane[l], (int)p.kind);
      }
    }
  }
}
