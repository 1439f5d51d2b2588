"""What users of other libraries type gets an error that names ours."""

from __future__ import annotations

import inspect

import pytest

import minigan as mg
from minigan import spelling


@pytest.mark.parametrize(
    "call, ours",
    [
        (lambda: mg.LeakyReLU(alpha=0.2), "negative_slope"),
        (lambda: mg.Adam(lr=1e-3), "learning_rate"),
        (lambda: mg.Adam(betas=(0.5, 0.999)), "beta_1 and beta_2"),
        (lambda: mg.Adam(beta1=0.5), "beta_1"),
        (lambda: mg.Adam(eps=1e-8), "epsilon"),
        (lambda: mg.Conv2D(8, 3, stride=2), "strides"),
        (lambda: mg.Conv2D(out_channels=8, kernel_size=3), "filters"),
        (lambda: mg.Conv2D(8, 3, bias=False), "use_bias"),
        (lambda: mg.Dense(out_features=8), "units"),
        (lambda: mg.Dropout(p=0.5), "rate"),
        (lambda: mg.UpSampling2D(scale_factor=2), "size"),
        (lambda: mg.Dense(8, in_features=4), r"build\(\) learns it from the input"),
    ],
)
def test_arguments_of_other_libraries(call, ours):
    with pytest.raises(TypeError, match=f"here it is .*{ours}"):
        call()


def test_misspelt_arguments():
    with pytest.raises(TypeError, match=r"Dense has no argument 'activaton'.*mean 'activation'"):
        mg.Dense(8, activaton="relu")
    with pytest.raises(TypeError, match=r"Tanh has no argument 'x'; its arguments are none"):
        mg.Tanh(x=1)
    with pytest.raises(TypeError, match=r"Dense has no argument 'self'"):
        mg.Dense(**{"units": 8, "self": 1})


@pytest.mark.parametrize("name, ours", spelling.CLASSES.items())
def test_classes_of_other_libraries(name, ours):
    with pytest.raises(AttributeError, match="here it is") as error:
        getattr(mg, name)
    assert str(error.value).endswith(ours)
    assert hasattr(mg, ours.split("(")[0])


def test_every_hint_names_something_of_ours():
    """A hint that names an argument no constructor takes would send the user astray."""
    known = {
        parameter
        for cls in vars(mg).values()
        if isinstance(cls, spelling.Spelling)
        for parameter in inspect.signature(cls.__init__).parameters
    }
    for ours in spelling.OURS.values():
        if not ours.startswith("no such thing"):
            assert set(ours.split(" and ")) <= known, ours
    assert not set(spelling.OURS) & known  # and no name of ours is called foreign


def test_misspelt_classes():
    with pytest.raises(AttributeError, match=r"minigan has no 'Dens' \(did you mean 'Dense'\?\)"):
        mg.Dens  # noqa: B018
    with pytest.raises(AttributeError, match=r"minigan has no 'Zzz'$"):
        mg.Zzz  # noqa: B018
    assert not hasattr(mg, "__wrapped__")


def test_a_close_name():
    assert spelling.did_you_mean("relo", ["relu", "tanh"]) == " (did you mean 'relu'?)"
    assert spelling.did_you_mean("xyz", ["relu", "tanh"]) == ""
