// What the exact statistics need of two sorted samples of every column, in one pass: see SUMS in sorted_gaps.py.
//
// Moves (n + m) x columns x sizeof(REAL) bytes, once; beside it, for every ITEMS * THREADS rows, 280 bytes of sums. 1M against 1M
// float32 by 100 columns is 0.8 GB, 0.24 ms at 3.35 TB/s. It does about 150 operations in double a row, 3e10 in all, so that an H100
// at 3e13 a second needs about 1 ms: the arithmetic is the limit there, and a card with slow doubles is slower in proportion.
//
// Each block takes an equal share of the merged rows (Green, McColl and Bader, "GPU merge path", 2012), each thread of it ITEMS.
// A distinct value belongs to the thread that merges its last row, so ties may spread over threads and blocks. Chosen over a binary
// search for each value in the other sample, which reads log(n) values a row. The threads merge twice, from shared memory: first for
// the steps of the potentials, whose sums over the threads before are where the second merge starts. Blocks begin at 0; their
// moments are moved to where they belong when blocks are merged, in order.
//
// Reproducible to the bit: every sum is taken in an order that depends on the numbers of rows alone.
//
// Defined by the host: REAL (float or double), THREADS (a block, a multiple of 32), ITEMS (rows a thread).

#define SUMS 30
#define ROWS (THREADS * ITEMS)
#define WARPS (THREADS / 32)
#define ALL 0xffffffffu

struct Part {
    double sums[SUMS];
    double rows_a, rows_b;  // of the values that the part holds
    double steps[3];        // how far the potentials move across the part
};

struct Column {
    const REAL *a, *b;
    long long n, m;
};

__device__ __forceinline__ long long taken_from_a(const REAL* a, long long n, const REAL* b, long long m, long long merged)
{   // of the first `merged` rows in order, where a goes before b on ties
    long long low = merged > m ? merged - m : 0, high = merged < n ? merged : n;
    while (low < high) {
        const long long middle = (low + high) >> 1;
        if (a[middle] <= b[merged - 1 - middle]) low = middle + 1;
        else high = middle;
    }
    return low;
}

__device__ __forceinline__ long long rows_below(const REAL* x, long long high, REAL value)
{
    long long low = 0;
    while (low < high) {
        const long long middle = (low + high) >> 1;
        if (x[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low;
}

struct Value {  // a distinct value: its rows, what is at or below it, and what it moves the potentials by
    double before_a, before_b, a, b, gap, width, steps[3];
};

__device__ __forceinline__ double joined(int sum, double x, double y) { return sum < 2 ? fmax(x, y) : x + y; }
__device__ __forceinline__ double over(double factor, double width) { return factor == 0 ? 0.0 : factor * width; }

// Calls `visit` with each distinct value whose last row is among rows `first` to `end` of the merged column. The staged values are
// those from `from_a` and `from_b` on, and one beyond the block on either side.
template <class Visit>
__device__ __forceinline__ void values_of(const Column& column, const REAL* staged_a, const REAL* staged_b, long long from_a,
                                          long long from_b, long long i, long long j, int rows, Visit visit)
{
    const double n = double(column.n), m = double(column.m);
    const auto next_is_from_a = [&] { return j == column.m || (i < column.n && staged_a[i - from_a] <= staged_b[j - from_b]); };
    const auto next = [&] { return next_is_from_a() ? staged_a[i - from_a] : staged_b[j - from_b]; };
    long long before_a = i, before_b = j;
    if (rows && ((i > 0 && column.a[i - 1] == next()) || (j > 0 && column.b[j - 1] == next()))) {  // it began in other threads' rows
        before_a = rows_below(column.a, i, next());
        before_b = rows_below(column.b, j, next());
    }
    for (int row = 0; row < rows; ++row) {
        const bool from = next_is_from_a();
        const REAL value = from ? staged_a[i - from_a] : staged_b[j - from_b];
        i += from;
        j += !from;
        const bool more = i < column.n || j < column.m;
        const double width = more ? double(next()) - double(value) : 0.0;
        if (more && next() == value) continue;
        Value found;
        found.before_a = double(before_a);
        found.before_b = double(before_b);
        found.a = double(i - before_a);
        found.b = double(j - before_b);
        found.gap = double(i) * m - double(j) * n;  // a whole number, exact below 2^53
        found.width = width;
        found.steps[0] = found.gap == 0 ? 0.0 : copysign(found.width, found.gap);
        found.steps[1] = over(found.gap / (n * m), found.width);
        found.steps[2] = (1 - 2 * (double(j) / m)) * found.width;
        visit(found);
        before_a = i;
        before_b = j;
    }
}

extern "C" __global__ __launch_bounds__(THREADS)
void sorted_gaps(const Column* __restrict__ table, int columns, Part* __restrict__ parts)  // [gridDim.x][columns]
{
    __shared__ REAL s_values[ROWS + 2];
    __shared__ double s_steps[3][WARPS];
    __shared__ double s_sums[SUMS + 2][WARPS];

    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const Column column = table[blockIdx.y];
    const long long merged = column.n > 0 && column.m > 0 ? column.n + column.m : 0;
    const long long first = (long long)blockIdx.x * ROWS < merged ? (long long)blockIdx.x * ROWS : merged;
    const long long end = first + ROWS < merged ? first + ROWS : merged;
    const double n = double(column.n), m = double(column.m);

    // The block's rows of a and of b, and one more of each where there is one.
    const long long from_a = taken_from_a(column.a, column.n, column.b, column.m, first), from_b = first - from_a;
    const long long to_a = taken_from_a(column.a, column.n, column.b, column.m, end), to_b = end - to_a;
    const int staged_a = int((to_a < column.n && merged ? to_a + 1 : to_a) - from_a);
    const int staged_b = int((to_b < column.m && merged ? to_b + 1 : to_b) - from_b);
    REAL *s_a = s_values, *s_b = s_values + staged_a;
    for (int k = thread; k < staged_a; k += THREADS) s_a[k] = column.a[from_a + k];
    for (int k = thread; k < staged_b; k += THREADS) s_b[k] = column.b[from_b + k];
    __syncthreads();

    const int held = int(end - first), skipped = thread * ITEMS < held ? thread * ITEMS : held;
    const int rows = skipped + ITEMS < held ? ITEMS : held - skipped;
    const long long own_a = taken_from_a(s_a, to_a - from_a, s_b, to_b - from_b, skipped);
    const long long i = from_a + own_a, j = from_b + skipped - own_a;

    double start[3] = { 0, 0, 0 };
    values_of(column, s_a, s_b, from_a, from_b, i, j, rows, [&](const Value& v) {
        for (int k = 0; k < 3; ++k) start[k] += v.steps[k];
    });
    for (int k = 0; k < 3; ++k) {  // from a thread's own steps to those of all the threads before it
        double upto = start[k];
        for (int lanes = 1; lanes < 32; lanes *= 2) {
            const double others = __shfl_up_sync(ALL, upto, lanes);
            if (lane >= lanes) upto += others;
        }
        if (lane == 31) s_steps[k][warp] = upto;
        start[k] = __shfl_up_sync(ALL, upto, 1);
        if (lane == 0) start[k] = 0;
    }
    __syncthreads();
    for (int k = 0; k < 3; ++k)
        for (int w = 0; w < warp; ++w) start[k] += s_steps[k][w];

    double sums[SUMS], rows_a = 0, rows_b = 0;
    for (int k = 0; k < SUMS; ++k) sums[k] = 0;
    double p = start[0], q = start[1], r = start[2];
    values_of(column, s_a, s_b, from_a, from_b, i, j, rows, [&](const Value& v) {
        const double upto_a = v.before_a + v.a, upto_b = v.before_b + v.b;
        const double f = upto_a / n, g = upto_b / m, share = v.gap / (n * m), tied = v.a + v.b;
        const double within_a = f * (1 - f), within_b = g * (1 - g);
        sums[0] = fmax(sums[0], v.gap);
        sums[1] = fmax(sums[1], -v.gap);
        sums[2] += fabs(v.steps[1]);
        sums[3] += over(share, v.steps[1]);
        sums[4] += over(f * (1 - g) + g * (1 - f), v.width);
        sums[5] += over(within_a, v.width);
        sums[6] += over(within_b, v.width);
        sums[7] += over(sqrt(within_a / n + within_b / m), v.width);
        const double twice_a = v.before_a + upto_a, twice_b = v.before_b + upto_b, twice = twice_a + twice_b;
        const double gap = (twice_a * m - twice_b * n) * 0.5 / (n * m), square = tied * gap * gap;
        const double spread = twice * (2 * (n + m) - twice) - (n + m) * tied;  // a whole number; 0 only where all rows are tied
        sums[8] += square;
        sums[9] += square / fmax(spread, 1.0);
        sums[10] += v.a * v.a * v.a;
        sums[11] += v.b * v.b * v.b;
        sums[12] += v.a * v.b * tied;
        sums[13] += v.a * twice_b;
        sums[14] += v.a * twice_b * twice_b;
        sums[15] += v.b * twice_a * twice_a;
        const double potentials[7] = { p, p * p, q, q * q, r, r * r, q * r };
        #pragma unroll
        for (int k = 0; k < 7; ++k) {
            sums[16 + k] += v.a * potentials[k];
            sums[23 + k] += v.b * potentials[k];
        }
        rows_a += v.a;
        rows_b += v.b;
        p += v.steps[0];
        q += v.steps[1];
        r += v.steps[2];
    });
    #pragma unroll
    for (int k = 0; k < SUMS + 2; ++k) {
        double all = k < SUMS ? sums[k] : k == SUMS ? rows_a : rows_b;
        for (int lanes = 16; lanes > 0; lanes /= 2) all = joined(k, all, __shfl_down_sync(ALL, all, lanes));
        if (lane == 0) s_sums[k][warp] = all;
    }
    __syncthreads();
    Part& part = parts[(long long)blockIdx.x * columns + blockIdx.y];
    if (thread < SUMS + 2) {
        double all = s_sums[thread][0];
        for (int w = 1; w < WARPS; ++w) all = joined(thread, all, s_sums[thread][w]);
        (thread < SUMS ? part.sums[thread] : thread == SUMS ? part.rows_a : part.rows_b) = all;
    }
    if (thread < 3) {
        double all = 0;
        for (int w = 0; w < WARPS; ++w) all += s_steps[thread][w];
        part.steps[thread] = all;
    }
}

__device__ __forceinline__ void append(Part& all, const Part& next)
{   // `next` was summed with potentials that begin at 0: its moments about where they really begin
    const double p = all.steps[0], q = all.steps[1], r = all.steps[2];
    for (int side = 0; side < 2; ++side) {
        const double rows = side ? next.rows_b : next.rows_a;
        if (rows == 0) continue;  // a potential may be infinite
        const double* const from = next.sums + 16 + 7 * side;
        double* const to = all.sums + 16 + 7 * side;
        to[0] += rows * p + from[0];
        to[1] += rows * p * p + 2 * p * from[0] + from[1];
        to[2] += rows * q + from[2];
        to[3] += rows * q * q + 2 * q * from[2] + from[3];
        to[4] += rows * r + from[4];
        to[5] += rows * r * r + 2 * r * from[4] + from[5];
        to[6] += rows * q * r + q * from[4] + r * from[2] + from[6];
    }
    for (int k = 0; k < 16; ++k) all.sums[k] = joined(k, all.sums[k], next.sums[k]);
    all.rows_a += next.rows_a;
    all.rows_b += next.rows_b;
    for (int k = 0; k < 3; ++k) all.steps[k] += next.steps[k];
}

// Appends each run of `group` parts into one, in order; a thread a column and run.
extern "C" __global__ void append_parts(const Part* __restrict__ parts, long long number, int columns, int group,
                                        Part* __restrict__ out)  // [gridDim.x][columns]
{
    const int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const long long first = (long long)blockIdx.x * group, end = first + group < number ? first + group : number;
    Part all = parts[first * columns + column];
    for (long long k = first + 1; k < end; ++k) append(all, parts[k * columns + column]);
    out[(long long)blockIdx.x * columns + column] = all;
}
