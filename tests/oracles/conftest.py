"""The frameworks, imported when a test that needs them runs; and the table of the worst errors."""

from __future__ import annotations

import pytest

from .compare import worst


@pytest.fixture(scope="session")
def torch():
    """PyTorch in float64 on one thread."""
    torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield torch
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="session")
def keras():
    """Keras on JAX in float64."""
    jax = pytest.importorskip("jax", reason="needs the extra `oracles`")
    jax.config.update("jax_enable_x64", True)
    keras = pytest.importorskip("keras", reason="needs the extra `oracles`")
    if keras.backend.backend() != "jax":
        pytest.skip(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    # Keras holds what it computes to JAX's default precision, even where JAX may do better
    dtypes = pytest.importorskip("keras.src.backend.common.dtypes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
        yield keras
    keras.config.set_floatx(before)


def pytest_terminal_summary(terminalreporter):
    if not worst:
        return
    terminalreporter.section("worst relative errors against the oracles")
    for layer, (error, what, count) in sorted(worst.items()):
        terminalreporter.line(f"{layer:<32} {error:8.1e}  {what:<24} {count:6d} comparisons")
