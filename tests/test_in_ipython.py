"""What a new user of a notebook meets: errors in one sentence, names behind the tab key, figures of a run."""

import pytest
from jupyter_client.manager import start_new_kernel

import gencast as gc
from gencast.report.examples import toy_law_results


@pytest.fixture(scope="module")
def kernel():
    "A kernel as Jupyter starts it."
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def shown(kernel, code: str) -> tuple:  # status, lines of the error
    "Execute a cell and collect the error that it shows."
    messages = []
    reply = kernel.execute_interactive(code, output_hook=messages.append, timeout=60)
    errors = [m["content"]["traceback"] for m in messages if m["msg_type"] == "error"]
    return reply["content"]["status"], "\n".join(line for lines in errors for line in lines).splitlines()


def test_bad_input_is_one_sentence_and_the_traceback_is_kept(kernel):
    status, lines = shown(kernel, "import gencast as gc\ngc.load_results('nowhere')")
    assert status == "error" and len(lines) == 2
    assert "there are no results in nowhere" in lines[0] and "%tb" in lines[1]
    assert len(shown(kernel, "%tb")[1]) > 10
    status, lines = shown(kernel, "def f():\n    1 / 0\nf()")
    assert status == "error" and len(lines) > 5, "other errors keep their traceback"


def test_an_interrupted_call_is_one_line_and_a_loop_of_ones_own_is_not(kernel):
    code = """
import gencast as gc, numpy as np
from sklearn.linear_model import Ridge
class Stubborn(Ridge):
    def fit(self, X, y): raise KeyboardInterrupt

domains = {f"sim{i}": (np.random.default_rng(i).normal(size=(60, 2)), np.arange(60.0)) for i in range(6)}
gc.ErrorForecaster(Stubborn()).fit(domains)
"""
    status, lines = shown(kernel, code)
    assert status == "error" and len(lines) == 2 and "the same call goes on" in lines[0], lines
    status, lines = shown(kernel, "def f():\n    raise KeyboardInterrupt\nf()")
    assert status == "error" and len(lines) > 3 and "gencast" not in "".join(lines)


def test_tab_shows_the_public_face_and_the_fields_of_objects(kernel, tmp_path):
    folder = toy_law_results(tmp_path / "toy", n_sim=6)
    code = f"import gencast as gc, numpy as np\nresults = gc.load_results({str(folder)!r})\n"
    code += "sample = gc.Sample('mine', wave=np.array([4000.0, 5000.0]), flux=np.ones((3, 2)))"
    assert shown(kernel, code)[0] == "ok"

    def completed(text: str) -> set:
        matches = kernel.complete(text, reply=True, timeout=60)["content"]["matches"]
        return {m.rpartition(".")[2] for m in matches}

    assert set(gc.__all__) <= completed("gc.")
    assert {"errors", "forecasts", "simulations", "plot"} <= completed("results.")
    assert {"errors", "forecast", "spectra"} <= completed("results.plot.")
    assert {"flux", "wave", "properties", "take"} <= completed("sample.")


def test_results_plot_themselves(tmp_path):
    results = gc.load_results(toy_law_results(tmp_path / "toy", n_sim=6))
    assert results.plot.forecast().get_title("left") == "toy_survey"
    assert results.plot.forecast("toy_survey").get_title("left") == "toy_survey"
    assert results.plot.errors(results.simulations.name[0]) is not None
    assert results.plot.predicted() is not None
    lone = gc.Results(**{**vars(results), "forecasts": results.forecasts.query("kind == 'simulation'")})
    with pytest.raises(gc.InputError, match="name the target"):
        lone.plot.forecast()
