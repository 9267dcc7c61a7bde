"""--cfg-options: text stays as typed where the config has text; numbers, lists and None are recognised elsewhere."""

from __future__ import annotations

import argparse
import pickle
import shlex
import subprocess
import sys

import pytest
from mmengine.config import Config

from ehrpose.cli import add_cfg_options, as_options
from ehrpose.config import load_config, merge_options, resolve
from ehrpose.option_values import TypedText, value_for

TEXTS = [
    "/x/My Drive/set/",
    "/x/a,b/",
    "a,b",
    " two  spaces ",
    r"C:\Users\My Name\new,table\x.json",
    r"\\server\My Share\data",
    "2024",
    "1e5",
    "007",
    "True",
    "/x/(old)/[1]/",
    "[draft",
    "it's",
    "a=b,c=d",
    "größe/ñ",
    "",
]


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(["--cfg-options", *words]).cfg_options


def merged(config, *words):
    cfg = Config(config)
    merge_options(cfg, parsed(*words))
    return cfg


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_text_stays_as_typed_where_the_config_has_text(text, quote):
    if quote and quote in text:
        return
    config = {"data_root": "data/coco/", "nested": [{"ann_file": "$data_root"}], "load_from": None}
    for key in ("data_root", "nested.0.ann_file", "load_from", "work_dir"):
        cfg = merged(config, f"{key}={quote}{text}{quote}")
        value = cfg["nested"][0]["ann_file"] if key.startswith("nested") else cfg[key]
        assert value == text
        assert type(value) is str


def test_a_windows_folder_whose_last_backslash_took_the_quote_along():
    assert value_for(TypedText('C:\\My Drive\\set"'), "data/") == "C:\\My Drive\\set"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2", -2),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("True", True),
        ("false", False),
        ("None", None),
        ("1,2,3", [1, 2, 3]),
        ("1, 2", [1, 2]),
        ("4,", [4]),
        ("[4]", [4]),
        ("(4,2)", (4, 2)),
        ("(4,)", (4,)),
        ("[]", []),
        ("[(1,2),[a b,None]]", [(1, 2), ["a b", None]]),
        ("['a,b', \"2\"]", ["a,b", "2"]),
        ('"[1,2]"', [1, 2]),
        ("(a),(b)", [("a",), ("b",)]),
        ("a,b", ["a", "b"]),
        ("/x/My Drive/a,b", "/x/My Drive/a,b"),
        (r"C:\a,b", r"C:\a,b"),
        ("'[1,2'", "[1,2"),
        ("['(a', 2]", ["(a", 2]),
        ("2024_01", "2024_01"),
        ("$codec", "$codec"),
        ("AdamW", "AdamW"),
    ],
)
@pytest.mark.parametrize("present", [None, 5, 0.1, False, [1], {"a": 1}])
def test_numbers_lists_and_none_elsewhere(text, value, present):
    got = value_for(TypedText(text), present, "model.x")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1,2", "] is missing"), ("1,2]", "] at place 4 closes no bracket"), ("1)", ") at place 2 closes no"),
        ("((4,2)", ") is missing"), ("[(1,2]", "] at place 6 closes no bracket"), ("[1,2))", ") at place 5 closes"),
        ("(1,2]", "] at place 5 closes no bracket"), ("[", "] is missing"), ("[1],]", "] at place 5 closes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("present", [None, 5, 0.1, False, [1], (4, 2), ["a"], {"a": 1}])
def test_brackets_that_do_not_match_are_named(text, reason, present):
    with pytest.raises(ValueError, match=r"`cfg_options` model\.x: expected a value such as") as error:
        value_for(TypedText(text), present, "model.x")
    assert reason in str(error.value)
    with pytest.raises(ValueError, match=r"--cfg-options model\.x: expected"):
        raise ValueError(as_options(str(error.value)))


def test_brackets_within_a_new_text_need_no_partner():
    assert value_for(TypedText("/x/(old/a"), None, "model.x") == "/x/(old/a"


def test_the_command_line_says_which_bracket_is_missing(root):
    command = [sys.executable, "tools/analysis_tools/print_config.py", "configs/ehrnet/small_coco-320.py"]
    done = subprocess.run(
        [*command, "--cfg-options", "codec.strides=(4,2"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: --cfg-options codec.strides: expected a value such as 3, [1,2] or ((1,2),(3,4))"
    )
    assert "got (4,2, in which ) is missing" in line


def test_text_is_unset_by_none_and_none_can_be_quoted():
    assert merged({"load_from": "a.pth"}, "load_from=None").load_from is None
    assert merged({"load_from": "a.pth"}, "load_from='None'").load_from == "None"


def test_lists_of_text_keep_text():
    assert value_for(TypedText("2024,2025"), ["a"]) == ["2024", "2025"]
    assert value_for(TypedText("(My Drive,'b,c')"), ("a",)) == ("My Drive", "b,c")
    assert value_for(TypedText("None"), ["a"]) is None


def test_what_a_reference_refers_to_decides():
    config = {"size": 5, "root": "$folder", "folder": "x", "part": {"size": "$size", "root": "$root"}}
    cfg = merged(config, "part.size=7", "part.root=7,8")
    assert (cfg.part.size, cfg.part.root) == (7, "7,8")
    assert merged(config, "part.size=$folder").part.size == "$folder"
    assert merged({"folder": "$folder", "a": "$b", "b": "$a"}, "a=1").a == 1


def test_options_reach_other_processes_as_typed():
    for typed in (TypedText("'None'"), TypedText("None"), TypedText("/x/My Drive")):
        again = pickle.loads(pickle.dumps(typed))
        assert (again, again.is_quoted) == (typed, typed.is_quoted)
    assert parsed("data_root='/x/My Drive/'") == {"data_root": "/x/My Drive/"}


def test_options_in_python_are_not_parsed():
    cfg = Config({"size": 5, "data_root": "x"})
    merge_options(cfg, {"size": "7", "data_root": None})
    assert (cfg.size, cfg.data_root) == ("7", None)


def test_a_shipped_config_from_a_command_line(root):
    line = (
        "data_root='/x/My Drive/a,b/' codec.input_size=320,480 param_scheduler.0.end=9 load_from=/w/a,b.pth"
    )
    options = parsed(*shlex.split(line))
    cfg = resolve(load_config(root / "configs/ehrnet/h-4_coco-384.py", options))
    assert cfg.train_dataloader.dataset.data_root == cfg.data_root == "/x/My Drive/a,b/"
    assert cfg.model.head.codec.input_size == [320, 480]
    assert (cfg.param_scheduler[0].end, cfg.load_from) == (9, "/w/a,b.pth")


def test_a_space_without_quotes_is_explained(capsys):
    with pytest.raises(SystemExit):
        parsed("data_root=/x/My", "Drive/")
    assert "expected KEY=VALUE, got 'Drive/': put a value with spaces in quotes" in capsys.readouterr().err
