// One step of a reduction: x [before, r, after] to [before, parts, lanes, after], each result from every
// lanes-th element of one part of r. The host repeats it until one number is left (reduce.cpp).
//
// A running sum is a pair: the rounded sum, and what rounding took from it (Knuth's two-sum), so that a sum's
// error does not grow with its length, on devices without double too. Between steps the pairs are kept; the
// last step joins them and writes the result's dtype. A maximum uses the first of the pair alone.

R2 joined_sum(R2 total, R2 value) {
  const R sum = total.x + value.x;
  const R of_value = sum - total.x;
  const R lost = (total.x - (sum - of_value)) + (value.x - of_value);
  return (R2)(sum, total.y + value.y + lost);
}
// With infinities what was lost is no number.
R ended_sum(R2 total) { return isfinite(total.x) ? total.x + total.y : total.x; }
#define EMPTY_SUM ((R2)(0, 0))

R2 joined_max(R2 best, R2 value) { return isnan(best.x) || best.x > value.x ? best : value; }
R ended_max(R2 best) { return best.x; }
#define EMPTY_MAX ((R2)(-INFINITY, 0))

#define PAIR(x, i) (x)[i]
#define SINGLE(x, i) (R2)(LOAD(x, i), 0)

// kind < 0: y holds pairs.
#define STEP(name, X, READ, EMPTY, joined, ended)                                                       \
  kernel void name(global const X* x, global void* y, long count, long r, long after, long part,        \
                   long parts, long lanes, int kind) {                                                  \
    const long i = get_global_id(0);                                                                    \
    if (i >= count) return;                                                                             \
    const long a = i % after, l = i / after % lanes, p = i / (after * lanes) % parts;                   \
    const long b = i / (after * lanes * parts);                                                         \
    const long end = min((p + 1) * part * lanes, r);                                                    \
    R2 total = EMPTY;                                                                                   \
    for (long j = p * part * lanes + l; j < end; j += lanes)                                            \
      total = joined(total, READ(x, (b * r + j) * after + a));                                          \
    if (kind < 0)                                                                                       \
      ((global R2*)y)[i] = total;                                                                       \
    else                                                                                                \
      store_result(y, i, ended(total), kind);                                                           \
  }

STEP(sum_first, T, SINGLE, EMPTY_SUM, joined_sum, ended_sum)
STEP(sum_more, R2, PAIR, EMPTY_SUM, joined_sum, ended_sum)
STEP(max_first, T, SINGLE, EMPTY_MAX, joined_max, ended_max)
STEP(max_more, R2, PAIR, EMPTY_MAX, joined_max, ended_max)
