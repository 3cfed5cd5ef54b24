// Sums over the Gaussian kernel matrix K of a table's rows, which is never stored: w' K w and 1' K w for each column w of weights,
// and the sum of K, its diagonal left out.
//
// Bound by arithmetic, not by memory: a tile of 64 x 64 pairs reads 128 rows and serves 4,096 pairs, so the rows come from the
// second-level cache. A pair costs 2 instructions a column of the table (difference, multiply-add), one exponential, and one
// multiply-add a column of weights; tiles on both sides of the diagonal are one. For 200,000 rows of 64 columns and 200 weights that
// is 2e10 pairs x 330 instructions, 0.2 s at an H100's 33.5e12 a second, if they issue without a gap; 0.4 s is expected.
//
// Variant: the distance is summed from differences. Taken from a matrix product as |a|² + |b|² - 2ab it would cost half the
// instructions, but lose the digits of rows that are close together and far out; and leaving product, exponential and second product
// to CuPy would move every tile through memory four times, 16 bytes a pair: 0.1 s more than it saves.
//
// Reproducible to the bit: each block sums in an order that depends on the shape alone and writes its own part.
//
// Defined by the host: CHUNKS (of 64 columns of weights that a launch takes).

#define TILE 64      // rows by columns of K that a block holds
#define SIDE 16      // threads along each side of it; each has CELLS x CELLS of the tile
#define CELLS 4
#define DEPTH 16     // columns of the table on chip at a time
#define FLUSH 16     // tiles summed in float before they are added up in double: sums of 1,024 values
#define PADDED (TILE + 4) // neighbours along the other way lie in other banks, and four in a row can still be read at once
#define WEIGHTS (CHUNKS * TILE)

extern "C" __global__ __launch_bounds__(SIDE * SIDE, 1)
void rbf_sums(const float* __restrict__ z,               // [rows][columns], in kernel units: K = exp(-|a - b|²)
              const signed char* __restrict__ weights,   // [rows][WEIGHTS]
              long long rows, int columns, int tiles,    // tiles: that cover the rows
              double* __restrict__ parts)                // [gridDim.x][gridDim.y][2][WEIGHTS]: w' K w, and 1' K w
{
    alignas(16) __shared__ float s_a[DEPTH][PADDED], s_b[DEPTH][PADDED], s_k[TILE][PADDED], s_w[TILE][TILE];
    __shared__ double s_sums[2][WEIGHTS];

    const int tx = threadIdx.x, ty = threadIdx.y, thread = ty * SIDE + tx;
    const long long first_row = (long long)blockIdx.x * TILE;
    for (int i = thread; i < 2 * WEIGHTS; i += SIDE * SIDE) s_sums[i / WEIGHTS][i % WEIGHTS] = 0;

    // This block's share of the tiles from the diagonal to the right.
    const long long right = tiles - (long long)blockIdx.x;
    const int first = int(blockIdx.x + right * blockIdx.y / gridDim.y), end = int(blockIdx.x + right * (blockIdx.y + 1) / gridDim.y);

    float products[CHUNKS][CELLS][CELLS] = {}, row_sums[CELLS] = {};
    for (int tile = first; tile < end; ++tile) {
        const long long first_column = (long long)tile * TILE;

        float squares[CELLS][CELLS] = {};
        for (int depth = 0; depth < columns; depth += DEPTH) {
            __syncthreads();
            for (int i = thread; i < TILE * DEPTH; i += SIDE * SIDE) {
                const int row = i / DEPTH, column = i % DEPTH;
                const bool inside = depth + column < columns;
                const long long a = first_row + row, b = first_column + row;
                s_a[column][row] = inside && a < rows ? z[a * columns + depth + column] : 0.0f;
                s_b[column][row] = inside && b < rows ? z[b * columns + depth + column] : 0.0f;
            }
            __syncthreads();
            #pragma unroll
            for (int column = 0; column < DEPTH; ++column)
                #pragma unroll
                for (int i = 0; i < CELLS; ++i)
                    #pragma unroll
                    for (int j = 0; j < CELLS; ++j) {
                        const float difference = s_a[column][ty * CELLS + i] - s_b[column][tx * CELLS + j];
                        squares[i][j] = fmaf(difference, difference, squares[i][j]);
                    }
        }
        __syncthreads();                                 // the last tile's s_k has been read
        for (int i = 0; i < CELLS; ++i)
            for (int j = 0; j < CELLS; ++j) {            // each pair once: what is left of the diagonal is its mirror image
                const long long row = first_row + ty * CELLS + i, column = first_column + tx * CELLS + j;
                s_k[tx * CELLS + j][ty * CELLS + i] = row < column && column < rows ? expf(-squares[i][j]) : 0.0f;
            }

        #pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            __syncthreads();                             // s_k is whole, and the last chunk's s_w has been read
            for (int i = thread; i < TILE * TILE; i += SIDE * SIDE) {
                const int row = i / TILE, weight = i % TILE;
                const long long b = first_column + row;
                s_w[row][weight] = b < rows ? float(weights[b * WEIGHTS + chunk * TILE + weight]) : 0.0f;
            }
            __syncthreads();
            for (int column = 0; column < TILE; ++column)
                #pragma unroll
                for (int i = 0; i < CELLS; ++i) {
                    const float k = s_k[column][ty * CELLS + i];
                    if (chunk == 0) row_sums[i] += k;
                    #pragma unroll
                    for (int j = 0; j < CELLS; ++j)
                        products[chunk][i][j] = fmaf(k, s_w[column][tx * CELLS + j], products[chunk][i][j]);
                }
        }

        if ((tile - first) % FLUSH != FLUSH - 1 && tile + 1 < end) continue;
        // Adds K w of these tiles to the sums: times w, twice, once for each side of the diagonal; and as it is for this side, with
        // the row sums of K times w for the other.
        #pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            double quadratic[CELLS] = {}, linear[CELLS] = {};
            #pragma unroll
            for (int i = 0; i < CELLS; ++i) {
                const long long row = first_row + ty * CELLS + i;
                #pragma unroll
                for (int j = 0; j < CELLS; ++j) {
                    const double w = row < rows ? double(weights[row * WEIGHTS + chunk * TILE + tx * CELLS + j]) : 0.0;
                    quadratic[j] += 2 * w * products[chunk][i][j];
                    linear[j] += products[chunk][i][j] + w * row_sums[i];
                    products[chunk][i][j] = 0;
                }
            }
            for (int turn = 0; turn < SIDE; ++turn) {    // the threads of a column add in order
                if (ty == turn)
                    for (int j = 0; j < CELLS; ++j) {
                        s_sums[0][chunk * TILE + tx * CELLS + j] += quadratic[j];
                        s_sums[1][chunk * TILE + tx * CELLS + j] += linear[j];
                    }
                __syncthreads();
            }
        }
        for (int i = 0; i < CELLS; ++i) row_sums[i] = 0;
    }
    __syncthreads();
    double* part = parts + ((long long)blockIdx.x * gridDim.y + blockIdx.y) * 2 * WEIGHTS;
    for (int i = thread; i < 2 * WEIGHTS; i += SIDE * SIDE) part[i] = s_sums[i / WEIGHTS][i % WEIGHTS];
}

// The sum of the parts, a block a column of them; in an order that no card changes.
extern "C" __global__ __launch_bounds__(SIDE * SIDE)
void sum_parts(const double* __restrict__ parts, long long number, double* __restrict__ out)  // [number][gridDim.x] to [gridDim.x]
{
    __shared__ double s_sums[SIDE * SIDE];
    double sum = 0;
    for (long long p = threadIdx.x; p < number; p += SIDE * SIDE) sum += parts[p * gridDim.x + blockIdx.x];
    s_sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = SIDE * SIDE / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) s_sums[threadIdx.x] += s_sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = s_sums[0];
}
