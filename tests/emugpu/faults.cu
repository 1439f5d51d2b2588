// Kernels with one fault each, and correct ones beside them, for test_rig.py and
// test_sanitizers.py.  The faulty line carries the fault's name in a comment.

// Every kernel is launched with x of 128 elements, y of 64 and n = 64.

extern "C" __global__ void correct_copy(const float* x, float* y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}

extern "C" __global__ void global_write(const float* x, float* y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1;  // global_write
}

extern "C" __global__ void global_read(const float* x, float* y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i + n + 1];  // global_read
}

extern "C" __global__ void shared_bounds(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    s[i] = x[i];
    __syncthreads();
    y[i] = s[i + 1];  // shared_bounds
}

extern "C" __global__ void overflow(const float* x, float* y, int n)
{
    int square = (n << 16) * n * 8;  // overflow
    y[threadIdx.x] = square == 1 ? x[0] : x[1];
}

extern "C" __global__ void correct_reverse(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    s[i] = x[i];
    __syncthreads();
    if (blockIdx.x == 0) y[i] = s[63 - i];
}

extern "C" __global__ void read_before_write(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    s[i] = x[i];
    y[i] = s[63 - i];  // read_before_write
}

extern "C" __global__ void write_before_read(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 2; ++k) {
        s[i] = x[k * 64 + i];  // write_before_read
        __syncthreads();
        sum += s[63 - i];
    }
    y[i] = sum;
}

extern "C" __global__ void correct_rounds(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 2; ++k) {
        s[i] = x[k * 64 + i];
        __syncthreads();
        sum += s[63 - i];
        __syncthreads();
    }
    if (blockIdx.x == 0) y[i] = sum;
}

extern "C" __global__ void between_blocks(const float* x, float* y, int n)
{
    y[threadIdx.x] += x[blockIdx.x * blockDim.x + threadIdx.x];  // between_blocks
}

extern "C" __global__ void correct_atomics(const float* x, float* y, int n)
{
    atomicAdd(&y[threadIdx.x / 2], x[blockIdx.x * blockDim.x + threadIdx.x]);
}

extern "C" __global__ void correct_shuffles(const float* x, float* y, int n)
{
    float sum = x[threadIdx.x];
    for (int mask = 16; mask; mask >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    if (blockIdx.x == 0) y[threadIdx.x] = sum;
}

extern "C" __global__ void divergent_barrier(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    s[i] = x[i];
    if (i < 32) __syncthreads();  // divergent_barrier
    y[i] = s[63 - i];
}

extern "C" __global__ void early_return(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    if (i == n - 1) return;
    s[i] = x[i];
    __syncthreads();  // early_return
    y[i] = s[i];
}

extern "C" __global__ void two_barriers(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    s[i] = x[i];
    if (i < 32)
        __syncthreads();  // two_barriers
    else
        __syncthreads();
    y[i] = s[63 - i];
}

extern "C" __global__ void unwritten_shared(const float* x, float* y, int n)
{
    __shared__ float s[64];
    int i = threadIdx.x;
    if (i < 32) s[i] = x[i];
    __syncthreads();
    y[i] = s[i];
}

extern "C" __global__ void unwritten_dynamic(const float* x, float* y, int n)
{
    extern __shared__ float s[];
    int i = threadIdx.x;
    if (i < 32) s[i] = x[i];
    __syncthreads();
    y[i] = s[i];
}

extern "C" __global__ void atomic_sum(const float* x, float* y, int n)
{
    atomicAdd(y, x[threadIdx.x]);
}

extern "C" __global__ void __launch_bounds__(64) bounded(const float* x, float* y, int n)
{
    int i = threadIdx.x;
    if (i < n) y[i] = x[i];
}
