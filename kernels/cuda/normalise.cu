// The passes of the normalisations over their large arrays; reference.normalise and its neighbours.
//
//     normalise         (x - mean) * s
//     scale_shift       x * scale + shift
//     normalise_dx      scale * (g - mean_g - xhat * mean_gx)
//     subtract_scaled   y - p * scale_p - q * scale_q
//     multiply          p * q
//
// Large arrays are (A, M, B) as in reduce.cu.  A small operand stands with its two strides: element
// (a, m, b) reads p[a*pa + b*pb], so pa = pb = 0 is one number for all, pa = 0 and pb = 1 a number
// for each channel, pa = B and pb = 1 one for each group.  Outputs may be their inputs' arrays.

#define ELEMENT                                                                                    \
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;                                \
    if (i >= n) return;                                                                            \
    long long a = i / MB, b = i % B

extern "C" __global__ void normalise(
    long long n, const REAL* x, REAL* y, long long MB, int B,
    const REAL* __restrict__ mean, int mean_a, int mean_b,
    const REAL* __restrict__ s, int s_a, int s_b)
{
    ELEMENT;
    y[i] = (x[i] - mean[a * mean_a + b * mean_b]) * s[a * s_a + b * s_b];
}

extern "C" __global__ void scale_shift(
    long long n, const REAL* x, REAL* y, long long MB, int B,
    const REAL* __restrict__ scale, int scale_a, int scale_b,
    const REAL* __restrict__ shift, int shift_a, int shift_b)
{
    ELEMENT;
    y[i] = x[i] * scale[a * scale_a + b * scale_b] + shift[a * shift_a + b * shift_b];
}

extern "C" __global__ void normalise_dx(
    long long n, const REAL* g, const REAL* xhat, REAL* dx, long long MB, int B,
    const REAL* __restrict__ scale, int scale_a, int scale_b,
    const REAL* __restrict__ mean_g, int mean_g_a, int mean_g_b,
    const REAL* __restrict__ mean_gx, int mean_gx_a, int mean_gx_b)
{
    ELEMENT;
    REAL means = mean_g[a * mean_g_a + b * mean_g_b] + xhat[i] * mean_gx[a * mean_gx_a + b * mean_gx_b];
    dx[i] = scale[a * scale_a + b * scale_b] * (g[i] - means);
}

extern "C" __global__ void subtract_scaled(
    long long n, REAL* y, const REAL* p, const REAL* q, long long MB, int B,
    const REAL* __restrict__ scale_p, int p_a, int p_b,
    const REAL* __restrict__ scale_q, int q_a, int q_b)
{
    ELEMENT;
    y[i] -= p[i] * scale_p[a * p_a + b * p_b] + q[i] * scale_q[a * q_a + b * q_b];
}

extern "C" __global__ void multiply(long long n, const REAL* p, const REAL* q, REAL* y)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = p[i] * q[i];
}
