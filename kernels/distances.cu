// Five distances between two rows of counts, for every column of a table: PSI, Jensen-Shannon, Kullback-Leibler, Hellinger and total
// variation, in one launch.
//
// Moves 16 bytes a bin, once from memory and once from cache, and writes 40 bytes a column: 1,000 columns of 33 bins are 0.5 MB or
// 0.16 us at 3.35 TB/s. The launch itself takes longer, a few us; the same in CuPy is about sixty launches. A warp a column: 33 bins
// leave a block's other lanes idle, and a thread a column would read one bin of each of 32 columns at a time. A column of a
// million categories takes its one warp 31,250 turns of five logarithms and roots, some ms; split such a column over blocks when
// one of that size is met.
//
// Reproducible to the bit: a lane sums every 32nd bin, and the lanes' sums meet in a tree whose two sides are added, either way round.
// The formulas are those of kernels/statistics: the mixture's terms are never negative, so that close shares lose no digits.
//
// Defined by the host: COLUMNS (columns a block).

#define LANES 32
#define DISTANCES 5
#define EVERY_LANE 0xffffffffu

template <class T> __device__ __forceinline__ T of_all_lanes(T value)
{
    for (int bits = LANES / 2; bits > 0; bits /= 2) value += __shfl_xor_sync(EVERY_LANE, value, bits);
    return value;
}

extern "C" __global__ __launch_bounds__(LANES * COLUMNS)
void distances(const long long* __restrict__ reference, const long long* __restrict__ current, int columns, long long bins,
               double smoothing, double* __restrict__ out)  // [DISTANCES][columns]
{
    const int lane = threadIdx.x, column = blockIdx.x * COLUMNS + threadIdx.y;
    if (column >= columns) return;  // a whole warp, and no barrier of the block follows
    const long long* a = reference + column * bins;
    const long long* b = current + column * bins;

    long long rows_a = 0, rows_b = 0, filled = 0;
    for (long long k = lane; k < bins; k += LANES) {
        rows_a += a[k];
        rows_b += b[k];
        filled += (a[k] | b[k]) != 0;
    }
    rows_a = of_all_lanes(rows_a);
    rows_b = of_all_lanes(rows_b);
    filled = of_all_lanes(filled);

    const double added = smoothing * double(filled), smooth_a = double(rows_a) + added, smooth_b = double(rows_b) + added;
    double psi = 0, entropy = 0, information = 0, roots = 0, moved = 0;
    for (long long k = lane; k < bins; k += LANES) {
        if ((a[k] | b[k]) == 0) continue;  // padding, or an interval between equal edges: see statistics/shares.py
        const double p = double(a[k]) / double(rows_a), q = double(b[k]) / double(rows_b);
        const double e = (q - p) / (p + q), root = sqrt(q) - sqrt(p);
        moved += fabs(q - p);
        roots += root * root;
        entropy += (p + q) * ((1 + e) * log1p(e > -1 ? e : 0.0) + (1 - e) * log1p(e < 1 ? -e : 0.0));
        const double sp = (double(a[k]) + smoothing) / smooth_a, sq = (double(b[k]) + smoothing) / smooth_b;
        const double ratio = log(sq) - log(sp);  // infinite without smoothing where one side is empty
        psi += (sq - sp) * ratio;
        if (sq > 0) information += sq * ratio;
    }
    psi = of_all_lanes(psi);
    entropy = of_all_lanes(entropy);
    information = of_all_lanes(information);
    roots = of_all_lanes(roots);
    moved = of_all_lanes(moved);
    if (lane != 0) return;

    const double bits = entropy * (0.25 / 0.693147180559945309417);
    const double found[DISTANCES] = { psi, sqrt(fmin(fmax(bits, 0.0), 1.0)), information, sqrt(roots / 2), moved / 2 };
    const bool known = rows_a > 0 && rows_b > 0;
    for (int i = 0; i < DISTANCES; ++i) out[(long long)i * columns + column] = known ? found[i] : nan("");
}
