"""Public ops under the names that they had: for one release, with a warning of the new one."""

import pytest

from hubfast import ops

NAMES = {"Problem": "EvidenceInputs", "evidences": "evidence_batch", "spectra": "spectrum_batch"}


@pytest.mark.parametrize("former", NAMES)
def test_former_names_go_on_working(former):
    with pytest.warns(DeprecationWarning, match=rf"hubfast\.ops\.{NAMES[former]}$"):
        assert getattr(ops, former) is getattr(ops, NAMES[former])


@pytest.mark.parametrize("former", NAMES)
@pytest.mark.filterwarnings("ignore:hubfast.functional is now:DeprecationWarning")
def test_former_names_of_the_former_module_go_on_working(former):
    import hubfast.functional

    with pytest.warns(DeprecationWarning, match=rf"hubfast\.ops\.{NAMES[former]}$"):
        assert getattr(hubfast.functional, former) is getattr(ops, NAMES[former])


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match=r"module 'hubfast\.ops' has no attribute 'spectrums'"):
        _ = ops.spectrums
