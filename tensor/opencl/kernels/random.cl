// Philox-4x32-10 (Salmon et al., SC 2011) as tensor/philox.h defines it: a work item computes one block, words
// 4 i to 4 i + 3. state: seed low, seed high, draw low, draw high.

uint4 philox(global const uint* state, ulong block) {
  uint4 c = (uint4)((uint)block, (uint)(block >> 32), state[2], state[3]);
  uint k0 = state[0], k1 = state[1];
  for (int round = 0; round < 10; ++round) {
    const uint low0 = 0xD2511F53u * c.x, high0 = mul_hi(0xD2511F53u, c.x);
    const uint low1 = 0xCD9E8D57u * c.z, high1 = mul_hi(0xCD9E8D57u, c.z);
    c = (uint4)(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

#if defined(T_i32)
kernel void bits(global T* y, long n, global const uint* state) {
  const long first = 4 * get_global_id(0);
  if (first >= n) return;
  const uint4 words = philox(state, get_global_id(0));
  const uint word[4] = {words.x, words.y, words.z, words.w};
  for (int j = 0; j < 4 && first + j < n; ++j) y[first + j] = (int)word[j];
}
#else

kernel void uniform(global T* y, long n, global const uint* state) {
  const long first = 4 * get_global_id(0);
  if (first >= n) return;
  const uint4 words = philox(state, get_global_id(0));
  const uint word[4] = {words.x, words.y, words.z, words.w};
  for (int j = 0; j < 4 && first + j < n; ++j)
    STORE(y, first + j, (R)((float)(word[j] >> 8) * (1.0f / 16777216.0f)));
}

// The pair r cos t, r sin t with r = sqrt(-2 ln u), u = (p + 1) / 2^32, t = 2 pi q / 2^32.
#ifdef HAS_F64
typedef double2 Pair;
Pair normals(uint p, uint q) {
  const double radius = sqrt(-2 * log(((double)p + 1) / 4294967296.0));
  const double angle = 2 * 3.14159265358979323846 * ((double)q / 4294967296.0);
  return (Pair)(radius * cos(angle), radius * sin(angle));
}
#else
// In float the logarithm is taken of 1 - u where u is nearly 1, and the angle from the next quarter turn, so
// that no digits are lost before the functions.
typedef float2 Pair;
Pair normals(uint p, uint q) {
  const float scale = 1.0f / 4294967296.0f;
  const float log_u = p < 0x80000000u ? log(((float)p + 1) * scale) : log1p(-(float)(0xFFFFFFFFu - p) * scale);
  const float radius = sqrt(-2 * log_u);
  const uint quarter = (q + 0x20000000u) >> 30;
  const float turn = (float)(int)(q - (quarter << 30)) * (2 * scale);  // half turns, in [-1/4, 1/4)
  const float c = cospi(turn), s = sinpi(turn);
  const float x = (quarter & 1) ? -s : c, y = (quarter & 1) ? c : s;
  return (quarter & 2) ? (Pair)(-radius * x, -radius * y) : (Pair)(radius * x, radius * y);
}
#endif

kernel void normal(global T* y, long n, global const uint* state) {
  const long first = 4 * get_global_id(0);
  if (first >= n) return;
  const uint4 words = philox(state, get_global_id(0));
  const Pair a = normals(words.x, words.y), b = normals(words.z, words.w);
  const R value[4] = {(R)a.x, (R)a.y, (R)b.x, (R)b.y};
  for (int j = 0; j < 4 && first + j < n; ++j) STORE(y, first + j, value[j]);
}
#endif
