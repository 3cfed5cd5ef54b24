// How often each code occurs. Moves sizeof(CODE) bytes a code, once; the counters of a block stay on chip while they fit.
//
// A thread keeps BATCH codes in flight, which is what memory needs to be busy.
//
// Defined by the host: CODE (int or long long), CAPACITY (counters that a block keeps in shared memory).

#define BATCH 8

extern "C" __global__ void category_counts(const CODE* __restrict__ codes, long long number, int size,
                                           unsigned long long* __restrict__ counts)  // [size + 1], zeroed; the last: size or more
{
    __shared__ unsigned s_counts[CAPACITY];
    const bool fits = size < CAPACITY;
    if (fits) {
        for (int c = threadIdx.x; c <= size; c += blockDim.x) s_counts[c] = 0u;
        __syncthreads();
    }
    const auto take = [&](CODE code) {
        if (code < 0) return;
        const int counter = code < size ? int(code) : size;
        if (fits) atomicAdd(&s_counts[counter], 1u);
        else atomicAdd(&counts[counter], 1ull);
    };
    const long long stride = (long long)gridDim.x * blockDim.x;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + (BATCH - 1) * stride < number; i += BATCH * stride) {
        CODE batch[BATCH];
        #pragma unroll
        for (int k = 0; k < BATCH; ++k) batch[k] = codes[i + k * stride];
        #pragma unroll
        for (int k = 0; k < BATCH; ++k) take(batch[k]);
    }
    for (; i < number; i += stride) take(codes[i]);
    if (!fits) return;
    __syncthreads();
    for (int c = threadIdx.x; c <= size; c += blockDim.x)
        if (s_counts[c]) atomicAdd(&counts[c], (unsigned long long)s_counts[c]);
}
