// What stands before every source: the element type T that the source is compiled for, the type R in which it
// computes, and how elements are read and written. One of T_f32, T_f64, T_bf16, T_i32, T_u8 is defined; of
// sources that only move, one of T_1, T_2, T_4, T_8, an element's bytes. HAS_F64 where the device has double.

// A product and a sum are rounded apart, as everywhere in strict mode; where one rounding is meant, fma says so.
#pragma OPENCL FP_CONTRACT OFF
#ifdef HAS_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

float from_bf16(ushort bits) { return as_float((uint)bits << 16); }

// To nearest, ties to even; NaN stays NaN.
ushort to_bf16(float value) {
  const uint word = as_uint(value);
  const uint rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  return (ushort)((word & 0x7fffffffu) > 0x7f800000u ? (word >> 16) | 0x40u : rounded);
}

#if defined(T_f32)
typedef float T;
typedef float R;
#define R_CONVERT convert_float
#elif defined(T_f64)
typedef double T;
typedef double R;
#define R_CONVERT convert_double
#elif defined(T_bf16)
typedef ushort T;
typedef float R;
#define R_CONVERT convert_float
#elif defined(T_i32)
typedef int T;
typedef int R;
#elif defined(T_u8)
typedef uchar T;
typedef int R;
#elif defined(T_1)
typedef uchar T;
#elif defined(T_2)
typedef ushort T;
#elif defined(T_4)
typedef uint T;
#elif defined(T_8)
typedef ulong T;
#endif

#if defined(T_f64)
typedef double2 R2;
#elif defined(T_f32) || defined(T_bf16)
typedef float2 R2;
#endif

#if defined(T_bf16)
#define LOAD(p, i) from_bf16((p)[i])
#define STORE(p, i, value) (p)[i] = to_bf16(value)
#else
#define LOAD(p, i) ((R)(p)[i])
#define STORE(p, i, value) (p)[i] = (T)(value)
#endif

#if defined(T_f32) || defined(T_f64) || defined(T_bf16)
// A result may have another dtype than the operands: the host's ResultKind (opencl_backend.h).
#define RESULT_F32 0
#define RESULT_F64 1
#define RESULT_BF16 2
void store_result(global void* y, long i, R value, int kind) {
  if (kind == RESULT_F32) ((global float*)y)[i] = (float)value;
#ifdef HAS_F64
  if (kind == RESULT_F64) ((global double*)y)[i] = (double)value;
#endif
  if (kind == RESULT_BF16) ((global ushort*)y)[i] = to_bf16((float)value);
}
#endif

// How the host walks up to three operands beside each other (walk.h): `inner` neighbours a row, `outer` rows
// whose dimensions are `size`, innermost first. Where rows are short the work items are numbered through
// (`flat`), else dimension 1 of the range counts the rows.
typedef struct {
  long inner, outer, flat, rank;
  long step[3];
  long size[7];
  long stride[3][7];
} Walk;

// Sets column and row of this work item; the kernel ends where it has none.
#define WALK(walk, column, row)                             \
  long column = get_global_id(0), row = get_global_id(1);   \
  if (walk.flat) {                                          \
    row = column / walk.inner;                              \
    column -= row * walk.inner;                             \
  }                                                         \
  if (column >= walk.inner || row >= walk.outer) return;

// Where an operand's element lies.
#define OFFSET(walk, operand, column, row) offset_of(&walk, operand, column, row)
long offset_of(const Walk* walk, int operand, long column, long row) {
  long offset = column * walk->step[operand];
  for (int d = 0; d < walk->rank; ++d) {
    const long next = row / walk->size[d];
    offset += (row - next * walk->size[d]) * walk->stride[operand][d];
    row = next;
  }
  return offset;
}
