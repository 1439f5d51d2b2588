// Sums over groups of values: the statistics of normalisations and the gradients of biases.
//
// An array is seen as (A, M, B), and the middle axis is summed: of (N, H, W, C) the sums over all
// but the channels are (1, N*H*W, C), those of each sample's channels (N, H*W, C), those of each
// position (N*H*W, C, 1), those of each sample (N, H*W*C, 1).
//
//     reference.sums, column_sums    sum of a
//     reference.product_sums         sum of a*b
//     reference.batch_moments        sum of (a - mean)^2, mean of (A, B)
//     reference.paired_sums          sum of a and sum of a*b, in one pass
//
// A long sum is cut into chunks of `rows`: partial[a, chunk, b], and `combine` adds the chunks up.
// Every sum is made in an order that depends on shapes alone: eight (or 256) strided sums side by
// side, then one after the other.  Many short sums also round less than one long one.

#define SUM 0
#define PRODUCT 1
#define SQUARED_DEVIATION 2

__device__ REAL term(int what, const REAL* a, const REAL* b, long long i, long long group)
{
    if (what == SUM) return a[i];
    if (what == PRODUCT) return a[i] * b[i];
    REAL deviation = a[i] - b[group];
    return deviation * deviation;
}

// B > 1: a block is 32 elements of B wide and 8 rows of M deep.  All groups lie along x, the one axis
// of a grid that has more than 65,535 blocks.
extern "C" __global__ void __launch_bounds__(256) sum_columns(
    int what, const REAL* __restrict__ a, const REAL* __restrict__ b, REAL* __restrict__ partial,
    long long M, int B, int rows)
{
    __shared__ REAL sums[8][32];
    unsigned width = (B + 31) / 32;
    int j = blockIdx.x % width * 32 + threadIdx.x;
    long long group = blockIdx.x / width, first = (long long)blockIdx.y * rows;
    long long last = first + rows < M ? first + rows : M;
    REAL sum = 0;
    if (j < B) {
        for (long long m = first + threadIdx.y; m < last; m += 8)
            sum += term(what, a, b, (group * M + m) * B + j, group * B + j);
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || j >= B) return;
    for (int k = 1; k < 8; ++k) sum += sums[k][threadIdx.x];
    partial[(group * gridDim.y + blockIdx.y) * B + j] = sum;
}

// The same for two sums of one group, of a and of a*b.
extern "C" __global__ void __launch_bounds__(256) sum_column_pairs(
    const REAL* __restrict__ a, const REAL* __restrict__ b,
    REAL* __restrict__ partial, REAL* __restrict__ products, long long M, int B, int rows)
{
    __shared__ REAL sums[8][32], sums_ab[8][32];
    int j = blockIdx.x * 32 + threadIdx.x;
    long long first = (long long)blockIdx.y * rows;
    long long last = first + rows < M ? first + rows : M;
    REAL sum = 0, sum_ab = 0;
    if (j < B) {
        for (long long m = first + threadIdx.y; m < last; m += 8) {
            long long i = m * B + j;
            sum += a[i];
            sum_ab += a[i] * b[i];
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    sums_ab[threadIdx.y][threadIdx.x] = sum_ab;
    __syncthreads();
    if (threadIdx.y != 0 || j >= B) return;
    for (int k = 1; k < 8; ++k) {
        sum += sums[k][threadIdx.x];
        sum_ab += sums_ab[k][threadIdx.x];
    }
    partial[(long long)blockIdx.y * B + j] = sum;
    products[(long long)blockIdx.y * B + j] = sum_ab;
}

// B = 1: a block of 256 threads walks along `rows` elements of a group.
extern "C" __global__ void __launch_bounds__(256) sum_rows(
    int what, const REAL* __restrict__ a, const REAL* __restrict__ b, REAL* __restrict__ partial,
    long long M, int rows)
{
    __shared__ REAL sums[256];
    long long group = blockIdx.x, first = (long long)blockIdx.y * rows;
    long long last = first + rows < M ? first + rows : M;
    REAL sum = 0;
    for (long long m = first + threadIdx.x; m < last; m += 256)
        sum += term(what, a, b, group * M + m, group);
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) partial[group * gridDim.y + blockIdx.y] = sums[0];
}

// total[a, b] = the sum over the chunks of partial[a, chunk, b].  Here large numbers are added: in
// pairs, of which a sum of n has log2(n) roundings behind each other instead of n.
extern "C" __global__ void __launch_bounds__(1024) combine(
    const REAL* __restrict__ partial, REAL* __restrict__ total, int chunks, int B)
{
    __shared__ REAL sums[32][32];
    long long group = blockIdx.x;
    int j = blockIdx.y * 32 + threadIdx.x;
    REAL sum = 0;
    if (j < B)
        for (int k = threadIdx.y; k < chunks; k += 32) sum += partial[(group * chunks + k) * B + j];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    for (int half = 16; half > 0; half /= 2) {
        if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
        __syncthreads();
    }
    if (threadIdx.y == 0 && j < B) total[group * B + j] = sums[0][threadIdx.x];
}
