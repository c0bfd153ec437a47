"""What fetches packages: a registry that is out of reach for a while does not end a setup."""

import subprocess
from pathlib import Path

import pytest

PROGRESS = Path(__file__).parents[3] / "labs" / "setup" / "progress.sh"


def _fetch(tmp_path: Path, failures: int, says: str) -> tuple[int, str, int]:
    """Exit status, messages and number of tries of a command whose first `failures` tries fail."""
    command = tmp_path / "command.sh"
    command.write_text(
        f"""echo x >> tries
        [ $(wc -l < tries) -gt {failures} ] || {{ echo "{says}"; exit 7; }}
        """
    )
    done = subprocess.run(
        ["bash", "-euc", f'. "{PROGRESS}"; fetch pip log bash command.sh'],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "SETUP_PAUSES": "0 0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, len((tmp_path / "tries").read_text().splitlines())


@pytest.mark.parametrize(
    "says",
    [
        "[Errno -3] Temporary failure in name resolution",
        "Could not resolve 'deb.example.org'",
        "Connection timed out",
        "HTTP error 503 Service Unavailable",
    ],
)
def test_a_registry_that_does_not_answer_is_asked_again(tmp_path: Path, says: str) -> None:
    status, messages, tries = _fetch(tmp_path, 2, says)
    assert (status, tries) == (0, 3)
    assert "setup: pip: " in messages
    assert "again in 0 s" in messages


def test_the_last_try_gives_up(tmp_path: Path) -> None:
    assert _fetch(tmp_path, 9, "Connection refused")[::2] == (7, 3)


def test_another_failure_ends_at_once(tmp_path: Path) -> None:
    status, messages, tries = _fetch(tmp_path, 9, "error: no such package")
    assert (status, tries) == (1, 1)
    assert messages == ""


def test_progress_says_the_step_and_not_the_lines_of_the_tool(tmp_path: Path) -> None:
    command = "echo Collecting noise==1.0; until [ -e go ]; do sleep 0.05; done"
    script = f'. "{PROGRESS}"; watch "installing" log bash -c "{command}"'
    told = subprocess.Popen(
        ["bash", "-euc", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "SETUP_EVERY": "1"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert told.stderr is not None
    line = told.stderr.readline()
    (tmp_path / "go").touch()
    assert told.wait(30) == 0
    told.stderr.close()
    assert line.startswith("setup: installing, ")
    assert line.endswith(" s so far\n")
    assert "Collecting" in (tmp_path / "log").read_text(), "the log has it"
