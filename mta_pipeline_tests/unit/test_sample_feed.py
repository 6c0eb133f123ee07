"""The files of the sample feed: layouts, reproducibility, continuity, and what is written to disk."""

import gzip
import hashlib
import io
import re
import zipfile
from dataclasses import replace

import polars as pl
import pytest

from mta_pipeline.sample import Faults, SampleFeed, index_page
from mta_pipeline.weeks import file_name, weeks_between
from mta_pipeline_tests.unit.test_sample_truth import BOOTHS

MODERN, LEGACY = "2024-01-06", "2011-01-01"
HEADER = b"C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS".ljust(130)


def feed(**changes) -> SampleFeed:
    return replace(SampleFeed(1, 40, LEGACY, faults=Faults(), booths=BOOTHS), **changes)


def lines(text: bytes) -> list[bytes]:
    assert text.endswith(b"\n")
    return text.removesuffix(b"\n").split(b"\n")


def test_modern_files_have_a_header_and_rows_of_130_characters():
    header, *rows = lines(feed().week(MODERN).text)
    assert header == HEADER
    shape = re.compile(
        rb"\w+,R\d{3},\d\d-\d\d-\d\d,[^,]+,\w+,\w{3},\d\d/\d\d/\d{4},\d\d:\d\d:\d\d,REGULAR,\d{10},\d{10} +"
    )
    assert all(len(row) == 130 and shape.fullmatch(row) for row in rows)


def test_legacy_files_have_lines_of_up_to_eight_groups_and_no_header():
    rows = lines(feed().week(LEGACY).text)
    group = rb",\d\d-\d\d-\d\d,\d\d:\d\d:\d\d,REGULAR,\d{9},\d{9}"
    assert all(re.fullmatch(rb"\w+,R\d{3},\d\d-\d\d-\d\d(?:" + group + rb"){1,8}", row) for row in rows)
    of_one = [row.count(b",") // 5 for row in rows if row.startswith(rows[0].rpartition(b",")[0][:18])]
    assert of_one == [8, 8, 8, 8, 8, 2]


@pytest.mark.parametrize(("week", "begins"), [("2014-10-04", b"A001,R001,00-00-00,10-04-14,0"), ("2014-10-11", HEADER)])
def test_the_layout_changes_with_the_file_141018(week, begins):
    assert feed().week(week).text.startswith(begins)


def test_readings_are_sorted_by_turnstile_and_time():
    rows = [row.split(b",") for row in lines(feed().week(MODERN).text)[1:]]
    assert [(r[:3], r[6:8]) for r in rows] == sorted((r[:3], r[6:8]) for r in rows)


def test_in_legacy_files_the_words_of_a_desc_are_in_successive_groups():
    text = feed(faults=Faults(extra_audits=1.0, split_desc=True)).week(LEGACY).text
    assert re.search(rb",DOOR,\d{9},\d{9},[^,]*,[^,]*,(?:OPEN|CLOSE),\d{9},\d{9}", text)
    assert not re.search(rb"DOOR OPEN|DOOR CLOSE|TS VLT OPN", text)


def test_junk_lines_and_invalid_registers_look_like_those_of_known_bad_files():
    faults = Faults(junk_header=True, trailing_junk=True, bad_registers=2)
    rows = lines(feed(faults=faults).week(LEGACY).text)
    assert rows[0] == b"NUMBER,OF,ENTRIES"
    assert not any(re.search(rb"\d\d-\d\d-\d\d", row) for row in rows[:10])
    assert rows[10].startswith(b"A001,R001,")
    assert rows[-1] == b"USE"
    assert sum(b",REGULAR,-," in row for row in rows) == 1
    assert sum(b",REGULAR,," in row for row in rows) == 1


@pytest.mark.parametrize(("week", "fields"), [(MODERN, 10), (LEGACY, 4)])
def test_a_file_can_be_cut_within_the_entries_of_its_last_reading(week, fields):
    whole, cut = (feed(faults=Faults(cut_last_line=c)).week(week) for c in (False, True))
    assert whole.text.startswith(cut.text)
    last = cut.text.split(b"\n")[-1].split(b",")
    assert len(last) == fields if week == MODERN else (len(last) - 3) % 5 == fields
    assert re.fullmatch(rb"\d{5,6}", last[-1])
    assert cut.rejects == {"field_count": 1}
    assert cut.truth.height == whole.truth.height - 1


def test_the_same_seed_always_makes_the_same_bytes():
    """If you change the bytes on purpose, increment RECIPE in the generator, so that samples on disk are made again."""
    made = [feed(faults=Faults.all()).week(week) for week in (MODERN, LEGACY)]
    digests = [hashlib.sha256(week.text + week.truth.write_csv().encode()).hexdigest()[:16] for week in made]
    assert digests == ["dd448b15ff77adfd", "705504be95645338"]


def test_another_seed_makes_another_feed():
    assert feed().week(MODERN).text != feed(seed=2).week(MODERN).text


def test_a_week_made_alone_equals_the_same_week_made_in_a_row():
    weeks = weeks_between("2014-09-20", "2014-10-25")
    sample = feed(faults=Faults.all(), first_week=weeks[0])
    for made in sample.stream(weeks):
        alone = replace(sample).week(made.week)
        assert alone.text == made.text
        assert alone.truth.equals(made.truth)
        assert alone.rejects == made.rejects


def test_registers_continue_from_the_week_before():
    before, now = feed().stream([MODERN, "2024-01-13"])

    def registers(text: bytes, keep: str) -> pl.DataFrame:
        rows = pl.read_csv(io.BytesIO(text), infer_schema=False)
        rows = rows.rename({rows.columns[-1]: "EXITS"}).with_columns(pl.col("EXITS").str.strip_chars())
        return rows.unique(["C/A", "UNIT", "SCP"], keep=keep, maintain_order=True).cast({"ENTRIES": int, "EXITS": int})

    last, first = registers(before.text, "last"), registers(now.text, "first")
    carried_in = now.truth.unique(["control_area", "unit", "scp"], keep="first", maintain_order=True)
    assert (first["ENTRIES"] - last["ENTRIES"]).to_list() == carried_in["true_entries"].to_list()
    assert (first["EXITS"] - last["EXITS"]).to_list() == carried_in["true_exits"].to_list()
    assert carried_in["entries_status"].unique().to_list() == ["ok"]


def test_a_week_resembles_a_week_in_new_york():
    truth = feed(turnstiles=300).week(MODERN).truth
    per_turnstile = truth.select(pl.col("true_entries", "true_exits").sum() / 300).row(0)
    assert all(1_000 < people < 4_000 for people in per_turnstile)
    assert per_turnstile[0] == pytest.approx(per_turnstile[1], rel=0.25)
    by_day = dict(
        truth.group_by(pl.col("started_at").dt.weekday()).agg(pl.col("true_entries").sum()).drop_nulls().rows()
    )
    assert min(by_day[day] for day in (1, 2, 3, 4)) > 1.3 * max(by_day[6], by_day[7])


def test_a_small_feed_has_well_known_complexes_and_other_carriers():
    many = pl.concat(
        [
            BOOTHS,
            *(
                BOOTHS.filter(pl.col("control_area") == "N001").with_columns(control_area=pl.lit(f"N{n:03}"))
                for n in range(2, 200)
            ),
        ]
    )
    truth = feed(turnstiles=150, booths=many).week(MODERN).truth
    assert {610, 611} <= set(truth["complex_id"])
    assert "PTH" in set(truth["division"])


def test_more_turnstiles_than_the_booths_can_hold_are_refused():
    with pytest.raises(ValueError, match="5000 turnstiles cannot be spread over 7 booths"):
        feed(turnstiles=5000).week(MODERN)


@pytest.mark.parametrize("week", ["2024-01-07", "2010-04-24", "2060-01-03"])
def test_an_invalid_week_is_refused(week):
    with pytest.raises(ValueError, match=f"{week} is not a week of a sample feed"):
        feed(first_week=week)


@pytest.mark.parametrize("fault", [{"resets": 0.2}, {"missed_audits": -0.1}, {"bad_registers": -1}])
def test_fault_rates_that_would_invalidate_the_truth_are_refused(fault):
    with pytest.raises(ValueError, match=next(iter(fault))):
        Faults(**fault)


WEEKS = weeks_between("2024-01-06", "2024-01-20")


@pytest.mark.parametrize(
    ("compression", "unpack"),
    [
        ("none", bytes),
        ("gz", gzip.decompress),
        ("zip", lambda packed: zipfile.ZipFile(io.BytesIO(packed)).read("turnstile_240113.txt")),
    ],
)
def test_the_files_on_disk_are_the_weeks_of_the_feed_with_their_truth(tmp_path, compression, unpack):
    sample = feed(faults=Faults.all(), first_week=WEEKS[0])
    reported = []
    sample.write(tmp_path, WEEKS, compression=compression, progress=lambda *args: reported.append(args))
    assert reported == [(WEEKS[0], 1, 3), (WEEKS[1], 2, 3), (WEEKS[2], 3, 3)]
    suffix = "" if compression == "none" else f".{compression}"
    assert {path.name for path in tmp_path.iterdir()} == {
        "SAMPLE.txt",
        "truth",
        *(file_name(week) + suffix for week in WEEKS),
    }
    week = sample.week(WEEKS[0])
    assert unpack((tmp_path / f"turnstile_240113.txt{suffix}").read_bytes()) == week.text
    assert pl.read_parquet(tmp_path / "truth" / f"week={WEEKS[0]}.parquet").equals(week.truth)


def test_the_sums_per_week_are_those_of_the_truth_and_count_only_the_subway(tmp_path):
    sample = feed(faults=Faults.all(), first_week=WEEKS[0], turnstiles=60)
    sums = sample.write(tmp_path, WEEKS)
    assert sums.equals(pl.read_csv(tmp_path / "truth" / "weeks.csv"))
    for row in sums.iter_rows(named=True):
        week = sample.week(row["week"])
        data_lines = len([line for line in lines(week.text) if line.strip()]) - 1
        assert row["readings"] == week.truth.height
        assert row["readings"] + sum(week.rejects.values()) == data_lines
        assert row["duplicate"] == week.rejects["duplicate"]
        assert {"OB01", "PTH01"} <= set(week.truth["control_area"])
        subway = week.truth.filter(~pl.col("control_area").is_in(["OB01", "PTH01"]))
        assert row["true_entries"] == subway["true_entries"].sum()
        sound = subway.filter(pl.col("exits_status").is_in(["ok", "long_gap"]))
        assert row["recoverable_exits"] == sound["true_exits"].sum() < subway["true_exits"].sum()
        assert row["turnstiles"] == week.truth.n_unique(["control_area", "unit", "scp"])


def test_writing_again_keeps_existing_weeks_and_adds_missing_ones(tmp_path):
    sample = feed(first_week=WEEKS[0])
    sample.write(tmp_path, WEEKS[:2])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*24011*.txt")}
    sums = sample.write(tmp_path, WEEKS)
    assert sums["week"].to_list() == WEEKS
    assert written
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_sample_with_other_parameters_is_replaced(tmp_path):
    feed(first_week=WEEKS[0]).write(tmp_path, WEEKS)
    sums = feed(first_week=WEEKS[0], seed=2).write(tmp_path, WEEKS[:1], compression="gz")
    assert sums["week"].to_list() == WEEKS[:1]
    assert [path.name for path in tmp_path.glob("turnstile_*")] == ["turnstile_240113.txt.gz"]
    assert "Seed 2, 40 turnstiles" in (tmp_path / "SAMPLE.txt").read_text()


def test_a_sample_does_not_replace_real_files(tmp_path):
    (tmp_path / "turnstile_240113.txt.gz").write_bytes(b"real")
    with pytest.raises(FileExistsError, match=r"holds turnstile_240113\.txt\.gz and no SAMPLE\.txt"):
        feed().write(tmp_path, WEEKS)
    assert [path.read_bytes() for path in tmp_path.glob("turnstile_*")] == [b"real"]


def test_an_interrupted_write_can_be_continued(tmp_path):
    def interrupt(week: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    sample = feed(first_week=WEEKS[0])
    with pytest.raises(KeyboardInterrupt):
        sample.write(tmp_path / "a", WEEKS, progress=interrupt)
    assert len(list((tmp_path / "a").glob("turnstile_*"))) == 1
    sample.write(tmp_path / "a", WEEKS)
    sample.write(tmp_path / "b", WEEKS)

    def contents(name: str) -> dict[str, bytes]:
        root = tmp_path / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}

    assert contents("a") == contents("b")


def test_the_index_page_lists_weeks_like_the_mta_s():
    page = index_page(["2018-09-15", "2018-09-22"])
    assert re.findall(r"<a href=.*?</a>", page) == [
        '<a href="data/nyct/turnstile/turnstile_180929.txt">Saturday, September 29, 2018</a>',
        '<a href="data/nyct/turnstile/turnstile_180922.txt">Saturday, September 22, 2018</a>',
        '<a href="SAMPLE.txt">SAMPLE.txt</a>',
    ]


def test_a_reset_in_the_last_possible_week_breaks_no_other_week():
    feed = SampleFeed(seed=1276, turnstiles=14, first_week="2014-10-04", faults=Faults.all())
    assert feed.week("2014-10-04").truth.height > 0
