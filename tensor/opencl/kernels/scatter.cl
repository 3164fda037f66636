// scatter_add without atomics on floats: integers count what each target gets and hand out a range of places to
// it; the positions in a range, which come in any order, are sorted, so that every sum runs in the order of x.

// Of one launch over samples [n, m] with targets [n, s]: all counts start as 0.
kernel void count(global const int* index, global int* counts, long s, long m, long total) {
  const long i = get_global_id(0);
  if (i < total) atomic_inc(counts + i / m * s + index[i]);
}

// starts[t]: where the range of target t begins; any order of the ranges will do.
kernel void reserve(global const int* counts, global int* starts, global int* filled, global int* next, long targets) {
  const long t = get_global_id(0);
  if (t >= targets) return;
  filled[t] = 0;
  starts[t] = counts[t] > 0 ? atomic_add(next, counts[t]) : 0;
}

kernel void place(global const int* index, global const int* starts, global int* filled, global int* positions,
                  long s, long m, long total) {
  const long i = get_global_id(0);
  if (i >= total) return;
  const long t = i / m * s + index[i];
  positions[starts[t] + atomic_inc(filled + t)] = (int)i;
}

// Restores the heap of `size` ints below `root`, whose children are heaps.
void sift(global int* heap, int root, int size) {
  const int value = heap[root];
  int child = 2 * root + 1;
  while (child < size) {
    if (child + 1 < size && heap[child + 1] > heap[child]) ++child;
    if (heap[child] <= value) break;
    heap[root] = heap[child];
    root = child;
    child = 2 * root + 1;
  }
  heap[root] = value;
}

void sort_ascending(global int* list, int size) {
  for (int root = size / 2 - 1; root >= 0; --root) sift(list, root, size);
  for (int end = size - 1; end > 0; --end) {
    const int largest = list[0];
    list[0] = list[end];
    list[end] = largest;
    sift(list, 0, end);
  }
}

kernel void add_sorted(global const T* x, global const int* counts, global const int* starts, global int* positions,
                       global T* y, long targets) {
  const long t = get_global_id(0);
  if (t >= targets) return;
  global int* list = positions + starts[t];
  const int size = counts[t];
  if (size > 1) sort_ascending(list, size);
  R sum = 0;
  for (int j = 0; j < size; ++j) sum += LOAD(x, list[j]);
  STORE(y, t, sum);
}
