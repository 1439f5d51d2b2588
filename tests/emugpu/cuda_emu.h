// The device language as g++ sees it: included before every kernel's source.
#pragma once

#include "engine.h"

#include <cassert>
#include <cfloat>
#include <climits>
#include <cstring>
#include <math.h>
#include <type_traits>
#include <utility>

#define __CUDA_EMU__ 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__

// In one section, or one copy for each worker: either way the engine can fill it with poison.
#ifdef EMU_SANITIZED
#define __shared__ static __attribute__((section("emu_shared")))
#else
#define __shared__ static thread_local
#endif

#define threadIdx (emu::current->index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)
#define warpSize 32

using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

// ---- barriers and shuffles

// Not the address of the call: the compiler may copy it.
#define __syncthreads() emu::block_barrier({__COUNTER__, __LINE__})
#define __syncwarp(...) emu::warp_barrier()
#define __threadfence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define __threadfence_block() __threadfence()

#define EMU_NO_TSAN __attribute__((no_sanitize("thread")))

namespace emu {

// Every lane lays down its value, and takes that of the lane `from`.
template <class T>
EMU_NO_TSAN T shuffle(T value, unsigned from)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle exchanges at most 8 bytes");
    unsigned number = current->number, first = number & ~31u;
    memcpy(&exchange[number], &value, sizeof value);
    warp_barrier();
    memcpy(&value, &exchange[first + from], sizeof value);
    warp_barrier();
    return value;
}

EMU_NO_TSAN inline unsigned ballot(bool predicate)
{
    unsigned votes = 0, number = current->number, first = number & ~31u;
    exchange[number] = predicate;
    warp_barrier();
    for (unsigned lane = 0; lane < 32; ++lane)
        votes |= unsigned(exchange[first + lane] & 1) << lane;
    warp_barrier();
    return votes;
}

inline unsigned lane() { return current->number & 31; }

// The lane `to`, where it is in the segment of `width` lanes that has the calling one.
inline unsigned within(int to, int width)
{
    int first = lane() / width * width;
    return to < first || to >= first + width ? lane() : to;
}

}  // namespace emu

template <class T>
T __shfl_sync(unsigned, T value, int from, int width = 32)
{
    return emu::shuffle(value, emu::lane() / width * width + from % width);
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask, int width = 32)
{
    return emu::shuffle(value, emu::within(emu::lane() ^ mask, width));
}

template <class T>
T __shfl_down_sync(unsigned, T value, unsigned by, int width = 32)
{
    return emu::shuffle(value, emu::within(emu::lane() + by, width));
}

template <class T>
T __shfl_up_sync(unsigned, T value, unsigned by, int width = 32)
{
    return emu::shuffle(value, emu::within(int(emu::lane()) - int(by), width));
}

inline unsigned __ballot_sync(unsigned, int predicate) { return emu::ballot(predicate); }

// ---- atomics

namespace emu {

template <class T, class Change>
T atomically(T* address, Change change)
{
    T old, next;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do {
        next = change(old);
    } while (!__atomic_compare_exchange(address, &old, &next, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    return old;
}

}  // namespace emu

// The overloads are those of CUDA: CuPy's atomics.cuh adds others.
#define EMU_ATOMICS(T)                                                                     \
    inline T atomicAdd(T* address, T value)                                                \
    {                                                                                      \
        return emu::atomically(address, [=](T old) { return old + value; });               \
    }                                                                                      \
    inline T atomicExch(T* address, T value)                                               \
    {                                                                                      \
        return emu::atomically(address, [=](T) { return value; });                         \
    }
#define EMU_INTEGER_ATOMICS(T)                                                             \
    inline T atomicCAS(T* address, T expected, T value)                                    \
    {                                                                                      \
        return emu::atomically(address, [=](T old) { return old == expected ? value : old; }); \
    }                                                                                      \
    inline T atomicMin(T* address, T value)                                                \
    {                                                                                      \
        return emu::atomically(address, [=](T old) { return value < old ? value : old; }); \
    }                                                                                      \
    inline T atomicMax(T* address, T value)                                                \
    {                                                                                      \
        return emu::atomically(address, [=](T old) { return old < value ? value : old; }); \
    }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)
EMU_ATOMICS(float)
EMU_ATOMICS(double)
EMU_INTEGER_ATOMICS(int)
EMU_INTEGER_ATOMICS(unsigned)
EMU_INTEGER_ATOMICS(unsigned long long)

// ---- arithmetic

inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return static_cast<unsigned __int128>(a) * b >> 64;
}

// Of a NaN and a number the number, as the device has it.
template <class A, class B>
constexpr auto min(A a, B b)
{
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) return b < a ? b : a;
    else return std::fmin(a, b);
}

template <class A, class B>
constexpr auto max(A a, B b)
{
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) return a < b ? b : a;
    else return std::fmax(a, b);
}

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T>
T __ldg(const T* address)
{
    return *address;
}

namespace emu {

template <class To, class From>
To bits(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

}  // namespace emu

inline int __float_as_int(float x) { return emu::bits<int>(x); }
inline float __int_as_float(int x) { return emu::bits<float>(x); }
inline unsigned __float_as_uint(float x) { return emu::bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return emu::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu::bits<double>(x); }

// Conversions alone, for CuPy's headers: the device does no arithmetic in half precision.
inline unsigned short __float2half_rn(float x) { return emu::bits<unsigned short>(_Float16(x)); }
inline float __half2float(unsigned short x) { return emu::bits<_Float16>(x); }

// ---- how the driver finds a kernel, and calls it

namespace emu {

// i u q t: int, unsigned, long long, unsigned long long; f d: float, double; b c h: bool, and
// integers of one and two bytes; v: anything else.  A pointer has the capital letter.
template <class T>
constexpr char letter()
{
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_pointer_v<U>) return letter<std::remove_pointer_t<U>>() - 'a' + 'A';
    else if constexpr (std::is_same_v<U, bool>) return 'b';
    else if constexpr (std::is_same_v<U, float>) return 'f';
    else if constexpr (std::is_same_v<U, double>) return 'd';
    else if constexpr (!std::is_integral_v<U>) return 'v';
    else if constexpr (sizeof(U) == 8) return std::is_signed_v<U> ? 'q' : 't';
    else if constexpr (sizeof(U) == 4) return std::is_signed_v<U> ? 'i' : 'u';
    else return sizeof(U) == 1 ? 'c' : 'h';
}

template <class... P, size_t... I>
EMU_NO_TSAN void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<std::remove_reference_t<P>*>(arguments[I])...);
}

template <class... P>
EMU_NO_TSAN void call(void (*kernel)(P...), void** arguments)
{
    call(kernel, arguments, std::index_sequence_for<P...>{});
}

template <class... P>
const char* signature(void (*)(P...))
{
    static const char letters[] = {letter<P>()..., 0};
    return letters;
}

}  // namespace emu

#define EMU_EXPORT(symbol, kernel, max_threads, shares)                     \
    extern "C" const emu::Kernel emu_kernel_##symbol{                       \
        #kernel, emu::signature(&kernel),                                   \
        [](void** arguments) { emu::call(&kernel, arguments); }, max_threads, shares};

#ifdef EMU_SANITIZED
extern "C" __attribute__((weak)) char __start_emu_shared[], __stop_emu_shared[];
extern "C" char* emu_shared_begin() { return __start_emu_shared; }
extern "C" char* emu_shared_end() { return __stop_emu_shared; }
#endif
