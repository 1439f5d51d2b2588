// CuPy's own header takes long to compile, and the device does no complex arithmetic.
#pragma once

template <class T>
struct complex {
    T re, im;

    T real() const { return re; }
    T imag() const { return im; }
};

template <class T>
T norm(const complex<T>& z)
{
    return z.re * z.re + z.im * z.im;
}
