// Pooling and nearest-neighbour upsampling; the functions of these names in reference.py.
//
// Windows and taps as in columns.cu: window (oh, ow) reads pixel h = SH*oh + kh - PH through tap kh.
//
//     max_pool           y[o] = the largest pixel of window o, winner[o] = its tap kh*KW + kw; of
//                        equal ones the first; pixels of the padding never win
//     max_pool_adjoint   dx[i] = the sum of dy[o] over the windows o whose winner is i
//     max_pool_tangent   ty[o] = tx at the winner of window o
//     average_pool       y[o] = the mean of the pixels of window o that lie in the image
//     average_pool_adjoint   dx[i] = the sum of dy[o]/(pixels of window o) over the windows with i
//     upsample           y[h, w] = x[h / FH, w / FW]
//     upsample_adjoint   dx[h, w] = the sum of dy over its block of FH x FW pixels
//
// Adjoints are gathers, a thread for each element that is written.

#define PIXEL(height, width)                                                                       \
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;                                \
    if (i >= n) return;                                                                            \
    int c = i % C;                                                                                 \
    long long rest = i / C;                                                                        \
    int col = rest % (width);                                                                      \
    rest /= (width);                                                                               \
    int row = rest % (height);                                                                     \
    long long image = rest / (height)

// How many of the KH taps of window o lie inside the H pixels of the axis.
__device__ int inside(int o, int H, int KH, int SH, int PH)
{
    int first = SH * o - PH, last = first + KH;
    return (last < H ? last : H) - (first > 0 ? first : 0);
}

extern "C" __global__ void max_pool(
    long long n, const REAL* __restrict__ x, REAL* __restrict__ y, int* __restrict__ winner,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    PIXEL(OH, OW);
    REAL best = 0;
    int tap = -1;
    for (int kh = 0; kh < KH; ++kh) {
        for (int kw = 0; kw < KW; ++kw) {
            int h = SH * row + kh - PH, w = SW * col + kw - PW;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            REAL value = x[((image * H + h) * W + w) * C + c];
            if (tap < 0 || value > best || (value != value && best == best)) {  // a NaN is largest
                best = value;
                tap = kh * KW + kw;
            }
        }
    }
    y[i] = best;
    winner[i] = tap;
}

extern "C" __global__ void max_pool_adjoint(
    long long n, const REAL* __restrict__ dy, const int* __restrict__ winner, REAL* __restrict__ dx,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    PIXEL(H, W);
    REAL sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
        int down = row + PH - kh;
        if (down < 0 || down % SH || down / SH >= OH) continue;
        for (int kw = 0; kw < KW; ++kw) {
            int right = col + PW - kw;
            if (right < 0 || right % SW || right / SW >= OW) continue;
            long long o = ((image * OH + down / SH) * OW + right / SW) * C + c;
            if (winner[o] == kh * KW + kw) sum += dy[o];
        }
    }
    dx[i] = sum;
}

extern "C" __global__ void max_pool_tangent(
    long long n, const REAL* __restrict__ tx, const int* __restrict__ winner, REAL* __restrict__ ty,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    PIXEL(OH, OW);
    int h = SH * row + winner[i] / KW - PH, w = SW * col + winner[i] % KW - PW;
    bool in_image = h >= 0 && h < H && w >= 0 && w < W;
    ty[i] = in_image ? tx[((image * H + h) * W + w) * C + c] : REAL(0);
}

extern "C" __global__ void average_pool(
    long long n, const REAL* __restrict__ x, REAL* __restrict__ y,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    PIXEL(OH, OW);
    REAL sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
        for (int kw = 0; kw < KW; ++kw) {
            int h = SH * row + kh - PH, w = SW * col + kw - PW;
            if (h >= 0 && h < H && w >= 0 && w < W) sum += x[((image * H + h) * W + w) * C + c];
        }
    }
    y[i] = sum / (inside(row, H, KH, SH, PH) * inside(col, W, KW, SW, PW));
}

extern "C" __global__ void average_pool_adjoint(
    long long n, const REAL* __restrict__ dy, REAL* __restrict__ dx,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    PIXEL(H, W);
    REAL sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
        int down = row + PH - kh;
        if (down < 0 || down % SH || down / SH >= OH) continue;
        for (int kw = 0; kw < KW; ++kw) {
            int right = col + PW - kw;
            if (right < 0 || right % SW || right / SW >= OW) continue;
            int pixels = inside(down / SH, H, KH, SH, PH) * inside(right / SW, W, KW, SW, PW);
            sum += dy[((image * OH + down / SH) * OW + right / SW) * C + c] / pixels;
        }
    }
    dx[i] = sum;
}

extern "C" __global__ void upsample(
    long long n, const REAL* __restrict__ x, REAL* __restrict__ y,
    int H, int W, int C, int FH, int FW)
{
    PIXEL(H * FH, W * FW);
    y[i] = x[((image * H + row / FH) * W + col / FW) * C + c];
}

extern "C" __global__ void upsample_adjoint(
    long long n, const REAL* __restrict__ dy, REAL* __restrict__ dx,
    int H, int W, int C, int FH, int FW)
{
    PIXEL(H, W);
    REAL sum = 0;
    for (int fh = 0; fh < FH; ++fh)
        for (int fw = 0; fw < FW; ++fw)
            sum += dy[((image * H * FH + row * FH + fh) * W * FW + col * FW + fw) * C + c];
    dx[i] = sum;
}
