"""What machine code found before, it asks anew when that has changed (`globals.h`)."""

import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from enum import Enum
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.sim import compiled

pytestmark = pytest.mark.long  # it calls the C compiler, as the build does

# One place in the code for everything that is asked of it.
SOURCE = """
static PyObject *get(PyObject *self, PyObject *given) {
    return PyObject_GetAttr(PyTuple_GET_ITEM(given, 0), PyTuple_GET_ITEM(given, 1));
}
static PyObject *call(PyObject *self, PyObject *given) {
    PyObject *arguments[] = {NULL, PyTuple_GET_ITEM(given, 0)};
    return PyObject_VectorcallMethod(PyTuple_GET_ITEM(given, 1), arguments + 1,
                                     1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}
static PyMethodDef functions[] = {{"get", get, METH_VARARGS}, {"call", call, METH_VARARGS}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "places", NULL, -1, functions};
PyMODINIT_FUNC PyInit_places(void) { return PyModule_Create(&module); }
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("places")
    (folder / "places.c").write_text(SOURCE)
    mypyc = pytest.importorskip("mypyc")
    runtime = Path(mypyc.__file__).parent / "lib-rt"
    compiler = shlex.split(str(sysconfig.get_config_var("CC") or "cc"))
    header = str(compiled.ROOT / compiled.GLOBALS)
    roads = [f"-I{runtime}", f"-I{sysconfig.get_path('include')}", "-include", header]
    subprocess.run(
        [*compiler, "-O2", "-w", "-shared", "-fPIC", *roads, "places.c", "-o", "places.so"],
        cwd=folder,
        check=True,
    )
    spec = spec_from_file_location("places", folder / "places.so")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class First:
    __slots__ = ("value",)


class Second:
    __slots__ = ("other", "value")


class Counting:
    """Itself when it is asked first, then how often it was."""

    asked = 0

    def __get__(self, held: object, owner: type) -> Any:
        self.asked += 1
        return self if self.asked == 1 else self.asked


def test_a_field_of_one_type_is_not_that_of_another(places: Any) -> None:
    first, second = First(), Second()
    first.value, second.other, second.value = "one", "other", "two"
    for _ in range(3):
        assert [places.get(each, "value") for each in (first, second)] == ["one", "two"]
    assert places.get(second, "other") == "other"
    del first.value
    with pytest.raises(AttributeError):
        places.get(first, "value")
    slot = Second.__dict__["value"]
    Second.value = property(lambda self: "derived")  # type: ignore[assignment]
    assert places.get(second, "value") == "derived"
    Second.value = slot
    assert places.get(second, "value") == "two"


def test_what_a_class_holds_is_asked_anew_when_it_or_its_base_has_changed(places: Any) -> None:
    class Meta(type):
        pass

    class Base(metaclass=Meta):
        limit: Any = 1

    class Derived(Base):
        pass

    def seen() -> list[Any]:
        return [places.get(Derived, "limit") for _ in range(3)]

    assert seen() == [1] * 3
    Base.limit = 2
    assert seen() == [2] * 3
    Derived.limit = 3
    assert seen() == [3] * 3
    Meta.limit = property(lambda cls: 4)  # type: ignore[attr-defined]
    assert seen() == [4] * 3
    del Meta.limit  # type: ignore[attr-defined]
    Derived.limit = classmethod(lambda cls: cls)
    assert [method() for method in seen()] == [Derived] * 3
    Derived.limit = counting = Counting()
    assert seen() == [counting, 2, 3]


def test_a_member_of_an_enum_is_found(places: Any) -> None:
    class Colour(Enum):
        RED = 1
        BLUE = 2

    for _ in range(3):
        assert places.get(Colour, "RED") is Colour.RED
        assert places.get(Colour, "BLUE") is Colour.BLUE
    with pytest.raises(AttributeError):
        places.get(Colour, "GREEN")


def test_what_a_module_holds_is_asked_anew_when_it_has_changed(places: Any) -> None:
    module = ModuleType("module")
    module.limit = 1  # type: ignore[attr-defined]
    assert [places.get(module, "limit") for _ in range(3)] == [1] * 3
    module.limit = 2  # type: ignore[attr-defined]
    assert [places.get(module, "limit") for _ in range(3)] == [2] * 3
    del module.limit  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        places.get(module, "limit")


def test_a_method_is_that_of_the_object_as_it_is_now(places: Any) -> None:
    class Slotted:
        __slots__ = ()

        def name(self) -> str:
            return "before"

    class Open(Slotted):
        pass

    slotted, unlike = Slotted(), Open()
    replaced: Callable[[Any], str] = lambda self: "after"
    assert [places.call(slotted, "name") for _ in range(3)] == ["before"] * 3
    Slotted.name = replaced  # type: ignore[method-assign]
    assert [places.call(each, "name") for each in (slotted, unlike) * 2] == ["after"] * 4
    unlike.name = lambda: "its own"  # type: ignore[method-assign]
    assert places.call(unlike, "name") == "its own"
    assert [places.call(each, "copy") for each in ([1], {2}, {3: 4}, [5])] == [
        [1],
        {2},
        {3: 4},
        [5],
    ]
