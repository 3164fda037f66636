// y = x converted, from T to each dtype. Floating to integer truncates toward zero and saturates, NaN gives 0.

#define CAST(name, To, expression)                                      \
  kernel void cast_##name(global const T* x, global To* y, long n) {      \
    const long i = get_global_id(0);                                    \
    if (i >= n) return;                                                 \
    const R v = LOAD(x, i);                                             \
    y[i] = expression;                                                  \
  }

CAST(to_f32, float, convert_float(v))
#ifdef HAS_F64
CAST(to_f64, double, convert_double(v))
#endif
CAST(to_bf16, ushort, to_bf16(convert_float(v)))
#if defined(T_i32) || defined(T_u8)
CAST(to_i32, int, v)
CAST(to_u8, uchar, convert_uchar_sat(v))
#else
CAST(to_i32, int, isnan(v) ? 0 : convert_int_sat_rtz(v))
CAST(to_u8, uchar, isnan(v) ? (uchar)0 : convert_uchar_sat_rtz(v))
#endif
