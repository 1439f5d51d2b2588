// The gather and the scatter of a convolution; reference.im2col and reference.col2im.
//
// Window (oh, ow) and tap (kh, kw) meet at pixel (h, w) of the big side where, on each axis,
//
//     h = SH*oh + kh - PH                       (PH: padding before the image; zero outside it)
//
//     im2col   columns[n, oh, ow, kh, kw, c] = x[n, h, w, c]
//     col2im   x[n, h, w, c] = the sum of columns[n, oh, ow, kh, kw, c] over all that meet at (h, w)
//
// col2im, a scatter by its definition, is written as a gather: a thread for each element of x adds
// up what meets there, in the order of the taps.  No two threads write to one place, and the sum
// does not depend on timing.  The taps that reach pixel h are kh = (h + PH) mod SH, and every SH-th
// from there.  One call handles fewer than 2^31 elements: kernels/gpu/conv.py cuts the batch.

extern "C" __global__ void im2col(
    int n, const REAL* __restrict__ x, REAL* __restrict__ columns,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = i % C, rest = i / C;
    int kw = rest % KW;
    rest /= KW;
    int kh = rest % KH;
    rest /= KH;
    int ow = rest % OW;
    rest /= OW;
    int oh = rest % OH, image = rest / OH;
    int h = SH * oh + kh - PH, w = SW * ow + kw - PW;
    bool inside = h >= 0 && h < H && w >= 0 && w < W;
    columns[i] = inside ? x[((image * H + h) * W + w) * C + c] : REAL(0);
}

extern "C" __global__ void col2im(
    int n, const REAL* __restrict__ columns, REAL* __restrict__ x,
    int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = i % C, rest = i / C;
    int right = rest % W + PW;
    rest /= W;
    int down = rest % H + PH, image = rest / H;
    REAL sum = 0;
    for (int kh = down < 0 ? KH : down % SH; kh < KH && kh <= down; kh += SH) {
        int oh = (down - kh) / SH;
        if (oh >= OH) continue;
        for (int kw = right < 0 ? KW : right % SW; kw < KW && kw <= right; kw += SW) {
            int ow = (right - kw) / SW;
            if (ow < OW) sum += columns[((((image * OH + oh) * OW + ow) * KH + kh) * KW + kw) * C + c];
        }
    }
    x[i] = sum;
}
