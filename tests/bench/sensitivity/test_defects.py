from pathlib import Path

import pytest

import gptcore
from bench.sensitivity.defects import DEFECTS, Defect, DefectError

GPTCORE = Path(gptcore.__file__).parent


def source_of(defect):
    return (GPTCORE / defect.module).read_text(encoding="utf-8")


def test_there_are_enough_of_them_and_each_has_its_own_name():
    assert len(DEFECTS) >= 45
    assert len({defect.name for defect in DEFECTS}) == len({(defect.module, defect.before, defect.after) for defect in DEFECTS}) == len(DEFECTS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_every_defect_fits_the_present_code(defect):
    source = source_of(defect)
    changed = defect.changed(source)
    assert changed != source
    assert compile(changed, defect.module, "exec") != compile(source, defect.module, "exec")  # more than a comment


@pytest.mark.parametrize("source", ["nothing of the kind", "here and here"])
def test_a_defect_that_fits_no_place_or_several_is_refused(source):
    with pytest.raises(DefectError, match=r"here no more.*gptcore/loop.py.*bench/sensitivity/defects.py"):
        Defect("here no more", "loop.py", "here", "there").changed(source)
