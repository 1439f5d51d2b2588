// Adam over a network's whole vector of parameters, in one launch; reference.adam.
//
//     m += (1 - beta_1) (g - m)        v += (1 - beta_2) (g^2 - v)
//     p -= rate * m / (sqrt(v) * root + epsilon)

extern "C" __global__ void adam(
    long long n, REAL* __restrict__ p, const REAL* __restrict__ g,
    REAL* __restrict__ m, REAL* __restrict__ v,
    REAL rate, REAL one_less_beta_1, REAL one_less_beta_2, REAL root, REAL epsilon)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    REAL mean = m[i] + one_less_beta_1 * (g[i] - m[i]);
    REAL square = v[i] + one_less_beta_2 * (g[i] * g[i] - v[i]);
    m[i] = mean;
    v[i] = square;
    p[i] -= rate * mean / (sqrt(square) * root + epsilon);
}
