// Dropout's mask from Philox-4x64-10, bit for bit that of random.Key.keep_mask on the host.
//
// Philox (Salmon et al., 2011, figure 2 and table 2) enciphers a counter of four 64-bit words under
// a key of two.  A round multiplies two words by constants, and mixes high and low halves:
//
//     (x0, x1, x2, x3)  ->  (high(M1*x2) ^ x1 ^ k0,  low(M1*x2),  high(M0*x0) ^ x3 ^ k1,  low(M0*x0))
//
// and the key moves on by two constants between the rounds; ten rounds in all.  NumPy's stream of a
// key is the ciphers of the counters 1, 2, 3, ... (it counts before it enciphers).  Block b of it has
// 4 words, 16 numbers of 16 bits, the low bits of each word first: those of 16 elements of the mask.
//
//     scaled[i] = scale where the i-th 16 bits are at least `least`, else 0

typedef unsigned long long word;

extern "C" __global__ void dropout(
    long long n, REAL* __restrict__ scaled, long long size,
    word key_0, word key_1, word step, int least, REAL scale)
{
    long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= n) return;
    word x[4] = {(word)block + 1, 0, 0, step};
    for (int round = 0; round < 10; ++round) {
        word high_0 = __umul64hi(0xD2E7470EE14C6C93ull, x[0]), low_0 = 0xD2E7470EE14C6C93ull * x[0];
        word high_1 = __umul64hi(0xCA5A826395121157ull, x[2]), low_1 = 0xCA5A826395121157ull * x[2];
        x[0] = high_1 ^ x[1] ^ key_0;
        x[1] = low_1;
        x[2] = high_0 ^ x[3] ^ key_1;
        x[3] = low_0;
        key_0 += 0x9E3779B97F4A7C15ull;
        key_1 += 0xBB67AE8584CAA73Bull;
    }
    #pragma unroll
    for (int k = 0; k < 16; ++k) {
        long long i = 16 * block + k;
        int bits = (int)(x[k / 4] >> (16 * (k % 4))) & 0xFFFF;
        if (i < size) scaled[i] = bits >= least ? scale : REAL(0);
    }
}
