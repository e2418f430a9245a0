import http.client
import json
from urllib.parse import urlsplit

import pytest

from emodir_tui.reports import tensorboard
from emodir_tui.runs.directory import RunDirectory


@pytest.mark.filterwarnings("ignore")
def test_only_who_has_the_whole_address_sees_runs_and_their_names_may_have_commas(tmp_path, monkeypatch, capfd):
    from torch.utils.tensorboard import SummaryWriter

    run = RunDirectory(tmp_path / "a,x:b")
    with SummaryWriter(str(run.tensorboard_folder)) as writer:
        writer.add_scalar("joint/hypervolume", 0.5, 1)
    found = {}

    def fetch(place, path):
        connection = http.client.HTTPConnection(place)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()

    def look(folder, port):
        found["url"] = start(folder, 0)
        address = urlsplit(found["url"])
        while (answer := fetch(address.netloc, address.path + "data/runs"))[1] == b"[]":
            pass
        found["runs"] = json.loads(answer[1])
        found["without"] = [fetch(address.netloc, path)[0] for path in ("/", "/data/runs", "/x/data/runs")]
        raise KeyboardInterrupt

    start = tensorboard.start
    monkeypatch.setattr(tensorboard, "start", look)
    with pytest.raises(KeyboardInterrupt):
        tensorboard.serve([run], 6006)
    assert found["runs"] == ["a,x:b"]
    assert found["without"] == [404] * 3
    assert len(found["url"].rstrip("/").rpartition("/")[2]) == 32
