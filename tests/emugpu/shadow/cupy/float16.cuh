// Storage and conversions: CuPy's own header needs that of CUDA, and the device does no arithmetic
// in half precision.
#pragma once

#include "cupy/carray.cuh"

class float16 {
  public:
    float16() {}
    template <class T>
    float16(T value) : bits(__float2half_rn(float(value)))
    {
    }

    operator float() const { return __half2float(bits); }
    unsigned short to_bits() const { return bits; }
    static float16 from_bits(unsigned short bits)
    {
        float16 result;
        result.bits = bits;
        return result;
    }

  private:
    unsigned short bits;
};

inline bool isnan(float16 x) { return isnan(float(x)); }
inline bool isinf(float16 x) { return isinf(float(x)); }
inline bool isfinite(float16 x) { return isfinite(float(x)); }
