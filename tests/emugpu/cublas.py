"""The products of cuBLAS in float32 and float64, by NumPy, on the memory of the emulated device.

A module for CuPy, in the place of cupy_backends.cuda.libs.cublas: it has the functions that
cupy.matmul, dot, tensordot and vdot call, with their arguments.  A matrix is stored by columns,
`ld` elements apart.  The order of additions, and so the last digits, are not those of cuBLAS.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from .unmodelled import Unmodelled

CONSTANTS = {
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLAS_OP_C": 2,
    "CUBLAS_POINTER_MODE_HOST": 0,
    "CUBLAS_POINTER_MODE_DEVICE": 1,
    "CUBLAS_DEFAULT_MATH": 0,
    "CUBLAS_TENSOR_OP_MATH": 1,
    "CUBLAS_TF32_TENSOR_OP_MATH": 3,
    "CUBLAS_GEMM_DEFAULT": -1,
    "CUBLAS_GEMM_DEFAULT_TENSOR_OP": 99,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_32F_PEDANTIC": 69,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLAS_COMPUTE_64F": 70,
    "CUBLAS_COMPUTE_64F_PEDANTIC": 71,
}
FLOAT, DOUBLE = np.dtype("f4"), np.dtype("f8")
TYPES = {0: FLOAT, 1: DOUBLE}  # cudaDataType

Array = Any


class Products:
    """The products, on a driver's memory."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self.library = library
        self.pointer_mode = CONSTANTS["CUBLAS_POINTER_MODE_HOST"]
        self.math_mode = CONSTANTS["CUBLAS_DEFAULT_MATH"]

    def count(self, name: str) -> None:
        self.library.emu_count_launch(f"cublas:{name}".encode())

    def on_device(self, address: int, count: int, dtype: np.dtype) -> Array:
        """The elements at an address of the device."""
        if not self.library.emu_on_device(address, count * dtype.itemsize):
            raise RuntimeError(
                f"cublas: {count} elements of {dtype} at {address:#x} are not in one allocation"
            )
        return _elements(address, count, dtype)

    def matrix(self, address: int, rows: int, cols: int, ld: int, dtype: np.dtype) -> Array:
        if ld < max(rows, 1):
            raise RuntimeError(f"cublas: a leading dimension of {ld} for {rows} rows")
        if rows == 0 or cols == 0:
            return np.empty((rows, cols), dtype)
        flat = self.on_device(address, (cols - 1) * ld + rows, dtype)
        size = dtype.itemsize
        return np.lib.stride_tricks.as_strided(flat, (rows, cols), (size, ld * size))

    def operand(self, trans: int, address: int, rows: int, cols: int, ld: int, dtype: Any) -> Array:
        """A matrix of rows x cols, or stored as its transpose."""
        if trans == CONSTANTS["CUBLAS_OP_N"]:
            return self.matrix(address, rows, cols, ld, dtype)
        return self.matrix(address, cols, rows, ld, dtype).T

    def vector(self, address: int, count: int, step: int, dtype: np.dtype) -> Array:
        if step < 1:
            raise RuntimeError(f"cublas: a vector with steps of {step}")
        return self.on_device(address, (count - 1) * step + 1 if count else 0, dtype)[::step]

    def scalar(self, address: int, dtype: np.dtype) -> Any:
        if self.pointer_mode == CONSTANTS["CUBLAS_POINTER_MODE_DEVICE"]:
            return self.on_device(address, 1, dtype)[0]
        return _elements(address, 1, dtype)[0]

    def multiply_add(self, alpha: Any, a: Array, b: Array, beta: Any, c: Array) -> None:
        """c = alpha*a@b + beta*c, where a beta of 0 forgets what c was, a NaN too."""
        product = a @ b
        product *= alpha
        if beta != 0:
            product += beta * c
        c[...] = product

    def gemm(
        self,
        dtype: np.dtype,
        transposed: tuple[int, int],
        sizes: tuple[int, int, int],
        scalars: tuple[int, int],
        addresses: tuple[int, int, int],
        lds: tuple[int, int, int],
    ) -> None:
        m, n, k = sizes
        a = self.operand(transposed[0], addresses[0], m, k, lds[0], dtype)
        b = self.operand(transposed[1], addresses[1], k, n, lds[1], dtype)
        c = self.matrix(addresses[2], m, n, lds[2], dtype)
        alpha, beta = (self.scalar(address, dtype) for address in scalars)
        self.multiply_add(alpha, a, b, beta, c)


def _elements(address: int, count: int, dtype: np.dtype) -> Array:
    if count == 0:
        return np.empty(0, dtype)
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype)


def _type(*codes: int) -> np.dtype:
    if len(set(codes)) != 1 or codes[0] not in TYPES:
        raise RuntimeError(f"cublas: the emulated device has no product of the types {codes}")
    return TYPES[codes[0]]


def module(library: ctypes.PyDLL) -> ModuleType:
    """The module for CuPy."""
    products = Products(library)
    result = Unmodelled("cupy_backends.cuda.libs.cublas", "cublas")
    functions = {**CONSTANTS, **_handles(products), **_extended(products)}
    for letter, dtype in (("s", FLOAT), ("d", DOUBLE)):
        for name, function in _typed(products, dtype).items():
            functions[letter + name] = function
    vars(result).update(functions)
    return result


def _handles(products: Products) -> dict[str, Callable[..., Any]]:
    def set_pointer_mode(handle: int, mode: int) -> None:
        products.pointer_mode = mode

    def set_math_mode(handle: int, mode: int) -> None:
        products.math_mode = mode

    return {
        "create": lambda: 1,
        "destroy": lambda handle: None,
        "setStream": lambda handle, stream: None,
        "getPointerMode": lambda handle: products.pointer_mode,
        "setPointerMode": set_pointer_mode,
        "getMathMode": lambda handle: products.math_mode,
        "setMathMode": set_math_mode,
    }


def _typed(products: Products, dtype: np.dtype) -> dict[str, Callable[..., None]]:
    """The functions whose names begin with the letter of a type."""

    def gemm(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        products.count("gemm")
        products.gemm(dtype, (ta, tb), (m, n, k), (alpha, beta), (a, b, c), (lda, ldb, ldc))

    def batched(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, count):
        products.count("gemmBatched")
        tables = [products.on_device(table, count, np.dtype(np.intp)) for table in (a, b, c)]
        for at in zip(*(table.tolist() for table in tables), strict=True):
            products.gemm(dtype, (ta, tb), (m, n, k), (alpha, beta), at, (lda, ldb, ldc))

    def strided(
        handle, ta, tb, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count
    ):
        products.count("gemmStridedBatched")
        steps = [step * dtype.itemsize for step in (step_a, step_b, step_c)]
        for i in range(count):
            at = (a + i * steps[0], b + i * steps[1], c + i * steps[2])
            products.gemm(dtype, (ta, tb), (m, n, k), (alpha, beta), at, (lda, ldb, ldc))

    def gemv(handle, trans, m, n, alpha, a, lda, x, step_x, beta, y, step_y):
        products.count("gemv")
        matrix = products.matrix(a, m, n, lda, dtype)
        if trans != CONSTANTS["CUBLAS_OP_N"]:
            matrix = matrix.T
        rows, cols = matrix.shape
        products.multiply_add(
            products.scalar(alpha, dtype),
            matrix,
            products.vector(x, cols, step_x, dtype),
            products.scalar(beta, dtype),
            products.vector(y, rows, step_y, dtype),
        )

    def dot(handle, n, x, step_x, y, step_y, result):
        products.count("dot")
        value = products.vector(x, n, step_x, dtype) @ products.vector(y, n, step_y, dtype)
        if products.pointer_mode == CONSTANTS["CUBLAS_POINTER_MODE_DEVICE"]:
            products.on_device(result, 1, dtype)[0] = value
        else:
            _elements(result, 1, dtype)[0] = value

    return {
        "gemm": gemm,
        "gemmBatched": batched,
        "gemmStridedBatched": strided,
        "gemv": gemv,
        "dot": dot,
    }


def _extended(products: Products) -> dict[str, Callable[..., None]]:
    """The functions that are told the types."""
    typed = {dtype: _typed(products, dtype) for dtype in TYPES.values()}

    def gemm(
        handle, ta, tb, m, n, k, alpha, a, type_a, lda, b, type_b, ldb, beta, c, type_c, ldc, *_how
    ):
        function = typed[_type(type_a, type_b, type_c)]["gemm"]
        function(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

    def strided(handle, ta, tb, m, n, k, *rest):
        alpha, a, type_a, lda, step_a, b, type_b, ldb, step_b, beta, *rest = rest
        c, type_c, ldc, step_c, count, *_how = rest
        function = typed[_type(type_a, type_b, type_c)]["gemmStridedBatched"]
        first = (handle, ta, tb, m, n, k, alpha, a, lda, step_a, b, ldb, step_b)
        function(*first, beta, c, ldc, step_c, count)

    return {"gemmEx": gemm, "gemmStridedBatchedEx": strided}
