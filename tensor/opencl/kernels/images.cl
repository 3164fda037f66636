// max_pool2d and upfirdn2d, one result a work item.

typedef struct {
  long n, h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
} Pool;

// Of equal values the first in row-major order wins; NaN wins over every number.
kernel void max_pool2d(global const T* x, global T* y, global int* index, Pool p, long count) {
  const long i = get_global_id(0);
  if (i >= count) return;
  const long c = i % p.c, q = i / p.c % p.ow, row = i / (p.c * p.ow);
  const long top = row % p.oh * p.stride_h - p.pad_h, left = q * p.stride_w - p.pad_w;
  global const T* sample = x + row / p.oh * p.h * p.w * p.c;
  long best = -1;
  R champion = 0;
  for (long h = max(top, 0L); h < min(top + p.kernel_h, p.h); ++h)
    for (long w = max(left, 0L); w < min(left + p.kernel_w, p.w); ++w) {
      const long here = (h * p.w + w) * p.c + c;
      const R value = LOAD(sample, here);
      if (best < 0 || (!isnan(champion) && (value > champion || isnan(value)))) {
        best = here;
        champion = value;
      }
    }
  y[i] = sample[best];
  index[i] = (int)best;
}

typedef struct {
  long n, h, w, c, oh, ow, kernel_h, kernel_w, up_h, up_w, down_h, down_w, top, left, flip;
} Filter;

// The first tap r with a pixel under it, of all r < taps with (start + r) a multiple of up.
long first_tap(long start, long up) {
  const long rest = start % up;
  return rest == 0 ? 0 : rest > 0 ? up - rest : -rest;
}

#define UPFIRDN(name, F)                                                                                    \
  kernel void name(global const T* x, global const F* filter, global T* y, Filter f, long count) {          \
    const long i = get_global_id(0);                                                                        \
    if (i >= count) return;                                                                                 \
    const long c = i % f.c, q = i / f.c % f.ow, row = i / (f.c * f.ow);                                     \
    const long n = row / f.oh, down = row % f.oh * f.down_h - f.top, right = q * f.down_w - f.left;         \
    R sum = 0;                                                                                              \
    for (long r = first_tap(down, f.up_h); r < f.kernel_h; r += f.up_h) {                                   \
      const long h = (down + r) / f.up_h;                                                                   \
      if (down + r < 0 || h >= f.h) continue;                                                               \
      for (long s = first_tap(right, f.up_w); s < f.kernel_w; s += f.up_w) {                                \
        const long w = (right + s) / f.up_w;                                                                \
        if (right + s < 0 || w >= f.w) continue;                                                            \
        const long tap = f.flip ? r * f.kernel_w + s : (f.kernel_h - 1 - r) * f.kernel_w + f.kernel_w - 1 - s; \
        sum = fma((R)filter[tap], LOAD(x, ((n * f.h + h) * f.w + w) * f.c + c), sum);                       \
      }                                                                                                     \
    }                                                                                                       \
    STORE(y, i, sum);                                                                                       \
  }

UPFIRDN(upfirdn2d, float)
#if defined(T_f64)
UPFIRDN(upfirdn2d_f64, double)
#endif
