"""endpoints/server/registry.py: a card is there while the process that keeps the server is, and never longer."""

import subprocess
import sys
from pathlib import Path

from muser.endpoints.server.registry import Card, announced, running

CARD = Card(engine="vllm", name="student-base", path="/models/student", base_url="http://127.0.0.1:8123/v1", pid=1)
KEEPER = """
import sys, time
from pathlib import Path
from muser.endpoints.server.registry import Card, announced
with announced(Path(sys.argv[1]), Card.model_validate_json(sys.argv[2])):
    print("up", flush=True)
    time.sleep(60)
"""


def test_a_card_is_found_while_its_server_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    assert running(folder) == []
    with announced(folder, CARD):
        assert running(folder) == [CARD]
        assert running(folder) == [CARD], "looking changes nothing"
    assert running(folder) == []
    assert list(folder.iterdir()) == []


def test_a_card_of_a_killed_process_is_not_believed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEPER, str(tmp_path), CARD.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout
        assert keeper.stdout.readline() == b"up\n"
        assert running(tmp_path) == [CARD]
        keeper.kill()
    assert (tmp_path / "student-base.json").exists()
    assert running(tmp_path) == []
    with announced(tmp_path, CARD):
        assert running(tmp_path) == [CARD]


def test_what_is_no_card_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    assert running(tmp_path) == []
