"""The framework under test, loaded once."""

from __future__ import annotations

import pytest

import frameworks
from frameworks.protocol import implementations
from shared_spec.errors import UserError
from tests import less_optimized
from tests.equivalence.chosen import chosen

LOADED = pytest.StashKey()


def pytest_sessionstart(session):
    """The framework is loaded before anything is collected: tests are of its implementations, one by one."""
    config = session.config
    try:
        name = frameworks.check_name(config.getoption("--framework") or "none given")
        loaded = frameworks.load(name)
        loaded.runtime.setup(device=config.getoption("--device"))
    except UserError as error:
        raise pytest.UsageError(f"{error}; run tox -e test-torch or another") from None
    config.stash[LOADED] = loaded, [i for i in implementations(loaded) if not i.reason]
    if name == "jax":
        # It reads XLA_FLAGS once, when options are first asked for: those below are for processes that tests start.
        from jax._src.lib import xla_client

        assert xla_client.CompileOptions().executable_build_options.debug_options is not None


def pytest_collection_modifyitems(items):
    """Cases of the catalogue first: what has been compiled for one test is taken for another, and they optimize."""
    items.sort(key=lambda item: item.get_closest_marker("runs") is None)


def pytest_ignore_collect(collection_path, config):
    """test_NAME.py and test_NAME_*.py are of one framework alone."""
    of = collection_path.stem.removeprefix("test_").partition("_")[0]
    return True if of in frameworks.NAMES and of != config.getoption("--framework") else None


def pytest_generate_tests(metafunc):
    """A test with an `implementation` and a mark `runs(cases)` is one for each implementation, case and dtype."""
    if "implementation" not in metafunc.fixturenames:
        return
    _, available = metafunc.config.stash[LOADED]
    names = metafunc.definition.get_closest_marker("runs").args[0]
    jobs = chosen(available, names, every_dtype=metafunc.config.getoption("--every-dtype"))
    ids = [f"{name}-{i.name}-{dtype}" for i, name, dtype in jobs]
    metafunc.parametrize(("implementation", "name", "dtype"), jobs, ids=ids)


@pytest.fixture(scope="session")
def framework(request):
    return request.config.stash[LOADED][0]


@pytest.fixture(scope="session")
def available(request):
    """All implementations that there are here."""
    return request.config.stash[LOADED][1]


@pytest.fixture
def device(request):
    return request.config.getoption("--device")


@pytest.fixture(autouse=True)
def _optimized_by_xla_where_lanes_are_judged(request, monkeypatch):
    """What `runs` cases of the catalogue is compiled as it is raced. Most else asks what is done with programs, here
    and in processes that it starts, not what XLA makes of them, and compiling is nearly all of the time that it takes.
    With --every-dtype all is compiled as it is raced.
    """
    option, as_raced = request.config.getoption, request.node.get_closest_marker("runs")
    if option("--framework") != "jax" or option("--every-dtype") or as_raced:
        return
    from jax._src import compiler

    right = compiler.get_compile_options

    def less(*given, env_options_overrides=None, **options):
        overrides = {**less_optimized.LESS, **(env_options_overrides or {})}
        return right(*given, env_options_overrides=overrides, **options)

    monkeypatch.setattr(compiler, "get_compile_options", less)
    for name, value in less_optimized.environment().items():
        monkeypatch.setenv(name, value)
