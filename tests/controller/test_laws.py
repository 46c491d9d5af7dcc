"""Laws without a daemon: found, compiled, cached, refused, contained; and the maths of those that come with Trocar."""

import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.catalogue import Code
from controller.config import load_config
from controller.errors import ConfigError, LawError
from controller.guard.records import JOINT_COMMAND
from controller.laws.compile import compile_law, first_sample, try_law
from controller.laws.joint_pd import joint_pd, make_gains
from controller.laws.law import LAW_STATE, call_law, set_parameters
from controller.laws.parameters import MAX_PARAMETERS, SHARED, Parameter, pack, unpack
from kinematics.chain import forward_jacobian
from kinematics.description import load_arm
from kinematics.dynamics import friction_effort, gravity_effort, inverse_dynamics
from telemetry.sample import SAMPLE

HOME = [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0]
KP = [2000.0, 2000.0, 40000.0, 10.0, 10.0, 10.0, 10.0]
KD = [20.0, 20.0, 400.0, 0.12, 0.12, 0.12, 0.12]


@pytest.fixture(scope="module")
def arm():
    return load_arm("psm_classic").record


@pytest.fixture(scope="module")
def gains():
    return make_gains(KP, KD, gravity=True, friction=True)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a law's file and return its name for the configuration."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(source, function="law", file="mine.py"):
        (tmp_path / file).write_text(source)
        return f"{tmp_path / file}:{function}"

    return write


class Bench:
    """Calls a law as the cycle does."""

    def __init__(self, law, arm, gains, *, budget_ns=0, period_ns=1_000_000):
        self.law, self.arm, self.gains = law, arm.copy(), gains
        self.state, self.shared = np.zeros(1, LAW_STATE), np.zeros(1, SHARED)
        self.state["budget_ns"], self.state["period_ns"] = budget_ns, period_ns
        self.shared["parameters"] = law.vector
        self.sample = first_sample(arm, HOME)
        self.own = np.zeros(1, SAMPLE), np.zeros(1, JOINT_COMMAND)
        self.tick = 0

    def __call__(self):
        self.tick += 1
        self.sample["deadline_ns"] = self.sample["t_ns"] = self.tick * 1_000_000
        self.command = np.zeros(1, JOINT_COMMAND)
        self.command["position"] = self.sample["setpoint_position"]
        self.command["velocity"] = self.sample["setpoint_velocity"]
        joint_pd(self.arm, self.gains, self.sample, self.command)
        self.base = self.command.copy()
        return call_law(self.law.call, self.arm, self.state, self.shared, self.sample, self.command, *self.own)

    def set(self, **values):
        vector = np.full(MAX_PARAMETERS, np.nan)
        numbers = pack(self.law.info.parameters, values)
        vector[: len(numbers)] = numbers
        return set_parameters(self.shared, vector)


def law_of(body, head=""):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{head}\ndef law(arm, p, memory, sample, command):\n{lines}\n"


REFUSED = {
    # source, line, what the message must say
    "undefined name": (law_of("x = 1.0\ncommand.effort[0] = gain * x"), 4, ["'gain' is not defined", "gain * x"]),
    "unknown parameter": (law_of("command.effort[0] = p.gain"), 3, ["no parameter 'gain'", "there are none"]),
    "unknown field": (law_of("x = 1.0\ncommand.effort[0] = sample.mesured_position[0]"), 4, ["'mesured_position'"]),
    "text": (law_of("x = 'a' + sample.t_ns\ncommand.effort[0] = 1.0"), 3, ["add does not take"]),
    "another library": (law_of("json.dumps({})", "import json"), 3, ["json.dumps cannot be compiled"]),
    "a file": (law_of("with open('x') as f:\n    f.read()"), 2, ["with cannot be compiled"]),
    "two types": (law_of("x = 1.0\nif p is None:\n    x = 'low'\nmemory[0] = len(x)"), None, ["x is once of type"]),
    "a record's array": (
        law_of(
            "forward(arm, sample.measured_position, memory[:16].reshape(4, 4))", "from kinematics.chain import forward"
        ),
        3,
        ["sample.measured_position[:]"],
    ),
    "a record's array replaced": (law_of("command.effort = memory[:8]"), 3, ["command.effort[:] ="]),
    "in a helper": (
        law_of("command.effort[0] = helper(1.0)", "def helper(x):\n    y = x\n    return y.real_part\n"),
        3,
        ["'real_part'", "return y.real_part"],
    ),
    "unsupported NumPy": (
        law_of("memory[0] = np.einsum('i,i', memory, memory)", "import numpy as np"),
        3,
        ["numpy.einsum"],
    ),
    "writes a parameter": (law_of("p.gain = 3.0"), 3, ["keep what changes in memory"]),
    "syntax": ("def law(arm, p, memory, sample, command)\n    pass\n", 1, ["expected ':'"]),
    "raises at import": (law_of("pass", "import numpy as np; X = np.zeros(3)[3]"), 1, ["IndexError", "imported"]),
    "missing import": (law_of("pass", "import nonsuch_module"), 1, ["nonsuch_module"]),
    "four arguments": (
        "def law(arm, memory, sample, command):\n    pass\n",
        1,
        ["4 arguments", "def law(arm, p, memory"],
    ),
    "a generator": (law_of("yield 1"), 2, ["generator"]),
    "a bad annotation": ("def law(arm, p: int, memory, sample, command):\n    pass\n", 1, ["NamedTuple"]),
    "no function": ("law = 3\n", None, ["no function", "def law("]),
    "another name": (
        "def lew(arm, p, memory, sample, command):\n    pass\n",
        None,
        ["no function 'law'", "it has lew"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_law_that_cannot_be_compiled_is_refused_with_file_line_and_reason(write, case):
    source, line, words = REFUSED[case]
    name = write(source)
    with pytest.raises(LawError) as caught:
        compile_law(name, {})
    message = str(caught.value)
    assert name.rpartition(":")[0] in message
    if line is not None:
        assert f"line {line}" in message
    for word in words:
        assert word in message
    assert len(message) < 700


RAISES_AT_REST = {
    "raise": (law_of("if sample.measured_velocity[0] == 0.0:\n    raise ValueError('standing')"), 4, "standing"),
    "index": (law_of("for i in range(9):\n    command.effort[i] *= 2.0"), 4, "IndexError"),
    "assert": (law_of("assert sample.measured_position[2] < 0.1"), 3, "AssertionError"),
}


@pytest.mark.parametrize("case", RAISES_AT_REST)
def test_a_law_that_raises_on_an_arm_at_rest_is_refused_with_its_line(write, arm, gains, case):
    source, line, word = RAISES_AT_REST[case]
    law = compile_law(write(source), {})
    with pytest.raises(LawError) as caught:
        try_law(law, arm, gains, HOME)
    assert f"line {line}" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "body", ["command.effort[1] = 1.0 / sample.measured_velocity[0]", "command.kp[3] = 0.0 / memory[0]"]
)
def test_a_law_that_is_not_finite_on_an_arm_at_rest_is_refused(write, arm, gains, body):
    law = compile_law(write(law_of(body)), {})
    with pytest.raises(LawError, match=r"command\.(effort\[1\] = inf|kp\[3\] = nan)"):
        try_law(law, arm, gains, HOME)


def test_a_law_that_never_returns_is_refused(write, arm, gains, monkeypatch):
    monkeypatch.setattr("controller.laws.compile.TRIAL_TIMEOUT", 0.2)
    # It does end, some seconds later, so that the test's own process can.
    law = compile_law(write(law_of("i = 0.0\nwhile i < 2e9:\n    i += 1.0\nmemory[0] = i")), {})
    with pytest.raises(LawError, match="does not return"):
        try_law(law, arm, gains, HOME)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/nowhere/mine.py:law", "no file"),
        ("nonsuch.laws:law", "PYTHONPATH"),
        ("nonsuch:law", "PYTHONPATH"),
        ("pid", "joint_pd, computed"),
    ],
)
def test_a_law_that_is_nowhere_is_refused_with_what_to_do(name, word):
    with pytest.raises(LawError, match=word):
        compile_law(name, {})


PARAMETRISED = """
from typing import NamedTuple

class Gains(NamedTuple):
    stiffness: float = 2.0
    weights: tuple[float, float, float] = (1.0, 2.0, 3.0)

def law(arm, p: Gains, memory, sample, command):
    for i in range(3):
        command.effort[i] = p.stiffness * p.weights[i]
"""


def test_parameters_have_the_laws_defaults_and_the_configurations_values(write, arm, gains):
    bench = Bench(compile_law(write(PARAMETRISED), {"weights": [1, 1, 5]}), arm, gains)
    assert bench() == Code.OK
    assert bench.command["effort"][0, :3].tolist() == [2.0, 2.0, 10.0]
    assert bench.set(stiffness=3.0, weights=[0.0, 1.0, 2.0]) == Code.OK
    bench()
    assert bench.command["effort"][0, :3].tolist() == [0.0, 3.0, 6.0]
    bench.set(stiffness=1.0)
    bench()
    assert bench.command["effort"][0, :3].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"stifness": 1.0}, "stiffness, weights"),
        ({"weights": [1.0]}, "3 numbers"),
        ({"stiffness": [1.0]}, "one number"),
        ({"stiffness": float("nan")}, "finite"),
        ({"stiffness": "high"}, "a number"),
    ],
)
def test_a_wrong_parameter_is_refused_at_start(write, values, word):
    with pytest.raises(LawError, match=word):
        compile_law(write(PARAMETRISED), values)


def test_a_parameter_without_a_default_must_be_given(write):
    with pytest.raises(LawError, match=r"law\.parameters\.stiffness"):
        compile_law(write(PARAMETRISED.replace(" = 2.0", "")), {})


def test_without_a_declaration_the_configuration_says_which_parameters_there_are(write, arm, gains):
    bench = Bench(
        compile_law(write(law_of("command.effort[0] = p.a + p.b[1]")), {"a": 1.0, "b": [2.0, 3.0]}), arm, gains
    )
    assert bench() == Code.OK
    assert bench.command["effort"][0, 0] == 4.0


def test_an_infinite_parameter_changes_none_of_its_message(write, arm, gains):
    bench = Bench(compile_law(write(PARAMETRISED), {}), arm, gains)
    vector = np.full(MAX_PARAMETERS, np.nan)
    vector[0], vector[1] = 9.0, np.inf
    assert set_parameters(bench.shared, vector) == Code.BAD_LAW_PARAMETER
    assert (bench.shared["parameters"] == bench.law.vector).all()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6)), min_size=1, max_size=8),
    st.data(),
)
def test_packing_and_unpacking_parameters_gives_them_back(shapes, data):
    parameters = [Parameter(f"p{i}", size) for i, (size, _) in enumerate(shapes)]
    values = {p.name: [value] * p.size if p.size else value for p, (_, value) in zip(parameters, shapes, strict=True)}
    given_ = {name: value for name, value in values.items() if data.draw(st.booleans())}
    vector = np.array(pack(parameters, given_))
    unpacked = unpack(parameters, vector.tolist())
    for name, value in unpacked.items():
        if name in given_:
            assert value == given_[name]
        else:
            assert np.isnan(value).all()


def test_the_shortest_law_is_joint_pd(write, arm, gains):
    bench = Bench(compile_law(write(law_of("pass")), {}), arm, gains)
    assert bench() == Code.OK
    assert bench.command.tobytes() == bench.base.tobytes()


def test_memory_is_kept_from_tick_to_tick_and_zeroed_when_the_law_begins_anew(write, arm, gains):
    bench = Bench(compile_law(write(law_of("memory[0] += 1.0\ncommand.effort[0] = memory[0]")), {}), arm, gains)
    efforts = []
    for active in (1, 1, 1, 0, 1):
        bench.state["active"] = min(bench.state["active"][0], active)
        bench()
        efforts.append(bench.command["effort"][0, 0])
    assert efforts == [1.0, 2.0, 3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "body", ["raise ValueError('x')", "command.effort[memory.size] = 1.0", "assert memory[0] > 1.0"]
)
def test_what_a_law_raises_is_contained_and_its_command_dropped(write, arm, gains, body):
    bench = Bench(compile_law(write(law_of(f"command.effort[0] = 7.0\nsample.state = 9\n{body}")), {}), arm, gains)
    assert bench() == Code.LAW_RAISED
    assert bench.command.tobytes() == bench.base.tobytes()
    assert bench.sample["state"][0] == 0


def test_functions_that_the_user_has_jitted_divide_and_are_bounded_as_the_law_is(write, arm, gains):
    head = "import numba\n@numba.njit\ndef divided(x):\n    return 1.0 / x\n"
    bench = Bench(compile_law(write(law_of("command.effort[0] = divided(memory[0])", head)), {}), arm, gains)
    assert bench() == Code.OK
    assert np.isinf(bench.command["effort"][0, 0])  # which the guard catches
    head = "import numba\n@numba.njit\ndef at(x, i):\n    return x[i]\n"
    bench = Bench(compile_law(write(law_of("command.effort[0] = at(memory, 64)", head)), {}), arm, gains)
    assert bench() == Code.LAW_RAISED


SPIN = "x, i = 0.0, 0.0\nwhile i < p.loops:\n    x = 0.999 * x + 1.0\n    i += 1.0\nmemory[0] = x"


def test_three_calls_in_a_row_beyond_the_budget_are_too_slow(write, arm, gains):
    law = compile_law(write(law_of(SPIN)), {"loops": 1e5})
    bench = Bench(law, arm, gains, budget_ns=1000, period_ns=10**10)
    assert [bench(), bench()] == [Code.OK, Code.OK]
    bench.set(loops=0.0)
    bench.state["budget_ns"] = 10**9
    assert bench() == Code.OK  # in between a quick one: counted anew
    bench.set(loops=1e5)
    bench.state["budget_ns"] = 1000
    assert [bench(), bench(), bench()] == [Code.OK, Code.OK, Code.LAW_TOO_SLOW]
    assert bench.command.tobytes() == bench.base.tobytes()


def test_one_call_beyond_a_period_is_too_slow_at_once(write, arm, gains):
    bench = Bench(compile_law(write(law_of(SPIN)), {"loops": 1e5}), arm, gains, budget_ns=1000, period_ns=2000)
    assert bench() == Code.LAW_TOO_SLOW


def test_time_in_which_others_have_the_cpu_is_not_the_laws(write, arm, gains):
    head = "from numba.core import types\nusleep = types.ExternalFunction('usleep', types.int32(types.uint32))\n"
    bench = Bench(
        compile_law(write(law_of("usleep(20000)", head)), {}), arm, gains, budget_ns=5_000_000, period_ns=10**7
    )
    assert [bench() for _ in range(4)] == [Code.OK] * 4
    assert bench.shared["longest_ns"][0] >= 20_000_000


HELPERS = """
import mine_tools
from mine_tools import doubled
OFFSET = 0.5

def again(x):
    return doubled(x) + OFFSET

def law(arm, p, memory, sample, command):
    command.effort[0] = again(1.0) + mine_tools.tripled(1.0)
"""
TOOLS = "def doubled(x):\n    return 2.0 * x\n\ndef tripled(x):\n    return 3.0 * x\n"


def test_plain_helpers_are_compiled_and_an_edit_anywhere_is_seen(write, arm, gains, monkeypatch, tmp_path):
    def effort():
        monkeypatch.delitem(sys.modules, "mine_tools", raising=False)
        law = compile_law(name, {})
        bench = Bench(law, arm, gains)
        assert bench() == Code.OK
        return float(bench.command["effort"][0, 0]), law.info.from_cache

    tools = tmp_path / "mine_tools.py"
    tools.write_text(TOOLS)
    name = write(HELPERS)
    assert effort() == (5.5, False)
    assert effort() == (5.5, True)
    write(HELPERS.replace("OFFSET = 0.5", "OFFSET = 0.75"))
    assert effort() == (5.75, False)
    tools.write_text(TOOLS.replace("3.0 * x", "30.0 * x"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert effort() == (32.75, False)
    assert effort() == (32.75, True)


def test_a_law_is_compiled_anew_when_a_table_that_it_reads_at_import_has_changed(write, arm, gains, tmp_path):
    source = law_of(
        "command.effort[0] = TABLE[1]",
        f"import numpy as np\nTABLE = np.loadtxt({str(tmp_path / 'table.txt')!r})",
    )
    for value in (4.0, 5.0):
        (tmp_path / "table.txt").write_text(f"1.0 {value}\n")
        bench = Bench(compile_law(write(source), {}), arm, gains)
        bench()
        assert bench.command["effort"][0, 0] == value


def test_joint_pd_takes_no_parameters():
    with pytest.raises(LawError, match="takes no"):
        compile_law("joint_pd", {"stiffness": 1.0})


# --- the configuration


def configured(tmp_path, law):
    from controller import config

    text = (config._FOLDER / "psm_emulated.toml").read_text().replace("[law]", f"[law]\n{law}")
    path = tmp_path / "arm.toml"
    path.write_text(text)
    return path


def test_a_law_in_a_file_is_found_from_the_configurations_folder(tmp_path):
    (tmp_path / "mine.py").write_text(law_of("pass"))
    config = load_config(configured(tmp_path, 'name = "mine.py:law"'))
    assert config.law.name == f"{tmp_path}/mine.py:law"
    assert config.law_budget == pytest.approx(0.0005)
    assert load_config(configured(tmp_path, 'name = "my_lab.laws:law"\nbudget = 0.0002')).law_budget == 0.0002
    assert load_config(configured(tmp_path, 'name = "computed_torque"')).law_budget == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "pid"', ["law.name", "'pid'", "joint_pd", "file.py:function"]),
        ('name = "mine.py:law"', ["law.name", "mine.py", "not there"]),
        ('name = "mine:2"', ["law.name", "function"]),
        ('name = "my.lab:law"\nbudget = 0.002', ["law.budget", "0.002", "0.001"]),
        ("budget = 0.0002", ["law.budget", "of your own"]),
        ('name = "my.lab:law"\nparameters = {"2nd" = 1.0}', ["law.parameters", "'2nd'"]),
        ('name = "my.lab:law"\nparameters = {a = "x"}', ["law.parameters", "float"]),
        ('name = "my.lab:law"\nparameters = {a = inf}', ["law.parameters.a", "inf", "finite"]),
    ],
)
def test_a_wrong_law_section_names_key_value_and_what_is_allowed(tmp_path, text, words):
    path = configured(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_law_as_a_bare_string_is_refused_with_how_to_write_it(tmp_path):
    path = tmp_path / "arm.toml"
    path.write_text('law = "my_lab.laws:soft_wall"\n[arm]\nname = "PSM1"\n')
    with pytest.raises(ConfigError, match=r'law = .*\[law\], name = "my_lab\.laws:soft_wall" and its gains'):
        load_config(path)


# --- the laws that come with Trocar


@pytest.fixture(scope="module")
def impedance():
    return compile_law("cartesian_impedance", {})


@pytest.fixture(scope="module")
def torque():
    return compile_law("computed_torque", {})


def joints(arm, rng):
    low, high = arm[0]["position_min"][:7], arm[0]["position_max"][:7]
    q = np.zeros(8)
    q[:7] = low + (0.1 + 0.8 * rng.random(7)) * (high - low)
    return q


def posed(bench, q_set, q, qd):
    bench.sample = first_sample(bench.arm, q_set)
    bench.sample["measured_position"][0] = q
    bench.sample["measured_velocity"][0] = qd
    J, T = np.zeros((6, 8)), np.zeros((4, 4))
    forward_jacobian(bench.arm, q, T, J)
    return T, J


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_computed_torque_is_inverse_dynamics_of_the_wanted_acceleration(torque, arm, gains, seed):
    rng = np.random.default_rng(seed)
    bench = Bench(torque, arm, gains)
    w, share = 20.0, 0.25
    bench.set(bandwidth=w, device_share=share, at_measured=1.0)
    q, q_set, qd, qd_set = joints(arm, rng), joints(arm, rng), np.zeros(8), np.zeros(8)
    qd[:6], qd_set[:6] = rng.normal(size=(2, 6))
    posed(bench, q_set, q, qd)
    qdd = 0.5 * arm[0]["acceleration_max"] * (np.arange(8) < 6)
    bench.sample["setpoint_velocity"][0] = qd_set - qdd * 1e-3
    assert bench() == Code.OK
    bench.sample["setpoint_velocity"][0] = qd_set
    assert bench() == Code.OK
    a, effort, friction = np.zeros(8), np.zeros(8), np.zeros(8)
    a[:6] = (qdd + 2 * w * (qd_set - qd) + w * w * (q_set - q))[:6]
    joints_only = np.arange(8) < 6
    inverse_dynamics(arm, q * joints_only, qd * joints_only, a, effort)
    friction_effort(arm, qd_set, friction)
    expected = np.where(joints_only, effort + friction, bench.base["effort"][0])
    np.testing.assert_allclose(bench.command["effort"][0], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(bench.command["kp"], share * bench.base["kp"])


def test_impedance_at_its_set_point_asks_what_joint_pd_feeds_forward(impedance, arm, gains):
    rng = np.random.default_rng(3)
    bench = Bench(impedance, arm, gains)
    for _ in range(20):
        q = joints(arm, rng)
        posed(bench, q, q, np.zeros(8))
        assert bench() == Code.OK
        np.testing.assert_allclose(bench.command["effort"], bench.base["effort"], atol=1e-7)
        assert (bench.command["kp"] == 0.0).all()


@pytest.mark.parametrize("in_tip_frame", [0.0, 1.0])
def test_impedance_pulls_a_displaced_tip_back_by_its_stiffness(impedance, arm, gains, in_tip_frame):
    rng = np.random.default_rng(4)
    K = np.array([300.0, 500.0, 800.0])
    bench = Bench(impedance, arm, gains)
    bench.set(stiffness=K.tolist(), angular_stiffness=[0.0] * 3, in_tip_frame=in_tip_frame)
    for _ in range(20):
        q_set = joints(arm, rng)
        q = q_set + np.append(rng.normal(scale=0.01, size=7), 0.0)
        T, J = posed(bench, q_set, q, np.zeros(8))
        assert bench() == Code.OK
        T_set = bench.sample["setpoint_pose"][0]
        axes = T_set[:3, :3] if in_tip_frame else np.eye(3)
        force = axes @ np.diag(K) @ axes.T @ (T_set[:3, 3] - T[:3, 3])
        here, there = np.zeros(8), np.zeros(8)
        gravity_effort(arm, q, here)
        gravity_effort(arm, q_set, there)
        expected = (J[:3].T @ force + here - there)[:6]
        np.testing.assert_allclose((bench.command["effort"] - bench.base["effort"])[0, :6], expected, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_impedance_only_ever_takes_energy_from_a_moving_arm(impedance, arm, gains, seed):
    rng = np.random.default_rng(seed)
    bench = Bench(impedance, arm, gains)
    bench.set(
        damping=rng.uniform(0, 100, 3).tolist(),
        angular_damping=rng.uniform(0, 0.1, 3).tolist(),
        in_tip_frame=float(rng.integers(2)),
    )
    q, qd = joints(arm, rng), np.zeros(8)
    qd[:7] = rng.normal(size=7)
    posed(bench, q, q, qd)
    assert bench() == Code.OK
    power = (bench.command["effort"] - bench.base["effort"])[0] @ qd
    assert power <= 1e-9


def test_null_space_damping_acts_on_motions_that_leave_the_tip_alone_and_on_no_others():
    from controller.laws.cartesian_impedance import damp_null_space

    damp = damp_null_space if hasattr(damp_null_space, "py_func") else numba.njit(damp_null_space)
    rng = np.random.default_rng(5)
    for _ in range(20):
        J = np.zeros((6, 8))
        J[:, :7] = rng.normal(size=(6, 7))
        null = np.linalg.svd(J[:, :7])[2][6]
        moves = J[:, :7].T @ rng.normal(size=6)
        for qd, expected in ((null, -2.0 * null), (moves, np.zeros(7))):
            full, effort = np.append(qd, 0.0), np.zeros(8)
            damp(J, full, 7, 2.0, effort)
            np.testing.assert_allclose(effort[:7], expected, atol=5e-3 * np.abs(qd).max())
