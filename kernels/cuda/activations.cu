// Activations y = f(x), what their backward multiplies dy with, and how that moves.
//
//     kind 0, leaky_relu   f = x where x > 0, else slope*x     f' = 1 where y > 0, else slope
//     kind 1, tanh         f = tanh(x)                         f' = 1 - y^2
//     kind 2, sigmoid      f = 1/(1 + e^-x)                    f' = y (1 - y)
//     kind 3, silu         f = x s, s = sigmoid(x)             f' = s + x s (1 - s)
//
// `a` is what f' is a function of: the output y, for silu the input x.  With h(a) = f'(x),
//
//     activation            y = f(x)
//     activation_backward   dx = dy * h(a)
//     activation_tangent    ddx = ddy * h(a) + dy * h'(a) * ta          (reference.tanh_tangent, ...)
//
// The fused forms read and write the large arrays once (C channels last):
//
//     biased_activation            y = f(z + bias)
//     biased_activation_backward   dz = dy * h(y), and the sums of dz over `rows` rows at a time,
//                                  partial[chunk, c]; reduce.cu adds the chunks up to dbias
//
// leaky_relu with slope 1 is the linear activation.  Outputs may be their inputs' arrays.

__device__ REAL sigmoid_of(REAL x)
{
    REAL small = exp(x > 0 ? -x : x);  // at most 1: nothing overflows
    return (x > 0 ? REAL(1) : small) / (1 + small);
}

__device__ REAL f(int kind, REAL x, REAL slope)
{
    if (kind == 0) return x > 0 ? x : slope * x;
    if (kind == 1) return tanh(x);
    return kind == 2 ? sigmoid_of(x) : x * sigmoid_of(x);
}

__device__ REAL h(int kind, REAL a, REAL slope)
{
    if (kind == 0) return a > 0 ? REAL(1) : slope;
    if (kind == 1) return 1 - a * a;
    if (kind == 2) return a * (1 - a);
    REAL s = sigmoid_of(a);
    return s + a * s * (1 - s);
}

__device__ REAL h_slope(int kind, REAL a)
{
    if (kind == 0) return 0;
    if (kind == 1) return -2 * a;
    if (kind == 2) return 1 - 2 * a;
    REAL s = sigmoid_of(a);
    return s * (1 - s) * (2 + a * (1 - 2 * s));
}

extern "C" __global__ void activation(
    long long n, const REAL* x, REAL* y, int kind, REAL slope)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = f(kind, x[i], slope);
}

extern "C" __global__ void activation_backward(
    long long n, const REAL* dy, const REAL* a, REAL* dx, int kind, REAL slope)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = dy[i] * h(kind, a[i], slope);
}

extern "C" __global__ void activation_tangent(
    long long n, const REAL* dy, const REAL* ddy, const REAL* a, const REAL* ta, REAL* ddx, int kind)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) ddx[i] = ddy[i] * h(kind, a[i], 0) + dy[i] * h_slope(kind, a[i]) * ta[i];
}

extern "C" __global__ void biased_activation(
    long long n, REAL* z, const REAL* __restrict__ bias, int C, int kind, REAL slope)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = f(kind, z[i] + bias[i % C], slope);
}

// A block is 32 channels wide and 8 rows deep, and walks down `rows` rows.
extern "C" __global__ void __launch_bounds__(256) biased_activation_backward(
    const REAL* dy, const REAL* y, REAL* dz, REAL* __restrict__ partial,
    long long M, int C, int rows, int kind, REAL slope)
{
    __shared__ REAL sums[8][32];
    int c = blockIdx.x * 32 + threadIdx.x;
    long long first = (long long)blockIdx.y * rows;
    long long last = first + rows < M ? first + rows : M;
    REAL sum = 0;
    if (c < C) {
        for (long long m = first + threadIdx.y; m < last; m += 8) {
            REAL d = dy[m * C + c] * h(kind, y[m * C + c], slope);
            dz[m * C + c] = d;
            sum += d;
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || c >= C) return;
    for (int k = 1; k < 8; ++k) sum += sums[k][threadIdx.x];
    partial[(long long)blockIdx.y * C + c] = sum;
}
