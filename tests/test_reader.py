"""The adapter that comes with the package: the file we know, small, trained as its record says; damaged or missing it is refused in one sentence."""

import json
import shutil

import pytest
from safetensors import safe_open

from report_frames import by_hand
from tolman.core.errors import UserError
from tolman.models import _pretrained
from tolman.studies import reader

FOLDER = _pretrained.adapter("reader")
RECORD = json.loads((FOLDER / "record.json").read_text())


def test_the_adapter_is_small_and_in_half_precision():
    assert (FOLDER / "adapter_model.safetensors").stat().st_size <= 12e6
    with safe_open(FOLDER / "adapter_model.safetensors", "pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.bfloat16"}  # noqa: SIM118
    config = json.loads((FOLDER / "adapter_config.json").read_text())
    assert config["r"] == 16 and config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (
        "/" not in config["base_model_name_or_path"].removeprefix("HuggingFaceTB/") and "/work" not in json.dumps(RECORD) and "/root" not in json.dumps(RECORD)
    )


def test_the_record_is_of_the_training_that_the_study_repeats():
    (cell,) = (c for c in reader.cells("small", [0]) if c.training == reader.ANEW)
    assert RECORD["identity"] == cell.train_identity()


def test_the_card_states_what_the_record_holds():
    card = (FOLDER / "README.md").read_text()
    for when in ("before", "after"):
        assert f"{RECORD['retention'][when]['general_nats']:.3f}" in card and f"{RECORD['retention'][when]['general_accuracy']:.3f}" in card
    assert f"{RECORD['costs']['train']['tokens']:,}" in card


def test_a_damaged_or_missing_adapter_is_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "reader")
    monkeypatch.setattr(_pretrained, "__file__", str(tmp_path / "_pretrained.py"))
    assert _pretrained.adapter("reader") == tmp_path / "reader"
    weights = tmp_path / "reader" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="is not the adapter we know"):
        _pretrained.adapter("reader")
    weights.unlink()
    with pytest.raises(UserError, match="is not there"):
        _pretrained.adapter("reader")


def test_a_folder_of_that_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reader").mkdir()
    assert _pretrained.adapter("reader").resolve() == tmp_path / "reader"
    assert str(_pretrained.adapter("elsewhere/reader")) == "elsewhere/reader"


# -- the study -----------------------------------------------------------------------------------------------------------------------------------------


def test_cells_are_distinct_and_ask_base_and_reader_the_same():
    for scale, trainings in (("quick", 12), ("small", 13)):
        cells = reader.cells(scale, [0, 1])
        assert len({c.fingerprint() for c in cells}) == len(cells) == 2 * trainings == 2 * len({c.train_fingerprint() for c in cells if c.seed == 0})
        for c in cells:
            assert set(c.kinds or ()) == {kind for part in reader.SHOWN[c.asking.removesuffix(", in context")] for kind in part}


def test_the_headline_says_what_the_records_say():
    table = {
        (training, reader.where(name), kind, seed): letters
        for training, letters in ((reader.BASE, "cwww"), (reader.READER, "cccw")) for seed in (0, 1, 2)
        for name, parts in reader.SHOWN.items() for part in parts for kind in part
    }  # fmt: skip
    said = reader.headline(by_hand(table))
    assert said.count("25 %") == said.count("75 %") == 11 and "celebrities: as told 25 %" in said


def test_every_world_has_the_questions_that_are_asked():
    for scale, seeds in reader.scales.items():
        for cell in reader.cells(scale, range(seeds)):
            if cell.training != reader.BASE:
                continue
            assert set(cell.kinds or ()) <= {q.kind for q in cell.dataset.build(cell.seed).asked()}, f"{cell.asking}, seed {cell.seed}"
