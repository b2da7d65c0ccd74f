"""Tests that test the tests: mistakes put into a copy of dicomsync, each of which a named test must see.

    python -m tests.mutants                # all of them, with a table; ends with 1 if one survives
    python -m tests.mutants M4 I7          # only these

A mutant is one substitution; it is refused where what it replaces is not there just once, so that none
outlives the line that it is about. M numbers are those of the mistakes that this project set out to
survive; the I numbers are the promises of `docs/promises.md` that no such mistake is about.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("dicomsync", "tests", "pyproject.toml", "docs", "systemd", "README.md", "config.example.toml")
SECONDS = 110  # for one mutant's tests


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file` of the package, `old` becomes `new`; at least one of `killers` must fail."""

    name: str
    words: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]


MUTANTS = (
    Mutant(
        "M1",
        "a folder is the enrolled one whatever its marker",
        "deletion.py",
        """\
    if seen.marker != enrolled.marker:
        return "marker-other"
""",
        "",
        ("tests/test_deletion.py::test_a_folder_is_healthy_only_as_the_very_one_that_was_enrolled",),
    ),
    Mutant(
        "M1b",
        "a marker that is not there is none the worse",
        "deletion.py",
        """\
    if seen.problem:
        return seen.problem
""",
        "",
        ("tests/test_deletion.py::test_a_folder_is_healthy_only_as_the_very_one_that_was_enrolled",),
    ),
    Mutant(
        "M1c",
        "a pass over a folder that was another proves an absence",
        "deletion.py",
        "    if scan.before or scan.after:\n        return scan.before or scan.after\n",
        "",
        (
            "tests/test_deletion.py::test_a_pass_proves_something_only_without_an_error_and_of_the_folder_itself",
        ),
    ),
    Mutant(
        "M2c",
        "an error in looking for what left is taken for absence",
        "removal.py",
        """\
        pass
    except OSError:
        return Seen.UNSEEN""",
        """\
        pass
    except OSError:
        return Seen.ABSENT""",
        ("tests/test_roots.py::test_any_other_error_proves_nothing",),
    ),
    Mutant(
        "M3",
        "that an event told of it counts as the first proof",
        "ledger/mirrors.py",
        """\
            "INSERT INTO removals (root_id, instance_id, stage, left_at) VALUES (?, ?, 'left', ?)",""",
        """\
            "INSERT INTO removals (root_id, instance_id, stage, left_at, first_scan, first_seconds)"
            " VALUES (?, ?, 'absent', ?, 0, 0)",""",
        ("tests/test_mirroring.py::test_an_event_is_no_evidence_and_one_full_pass_is_not_enough",),
    ),
    Mutant(
        "M16",
        "one full pass is proof enough",
        "deletion.py",
        "return scan.number > first_scan and",
        "return True or scan.number > first_scan and",
        ("tests/test_deletion.py::test_the_second_pass_is_another_one_and_long_enough_after_the_first",),
    ),
    Mutant(
        "M16b",
        "one pass confirms itself",
        "deletion.py",
        "scan.number > first_scan and",
        "scan.number >= first_scan and",
        ("tests/test_deletion.py::test_the_second_pass_is_another_one_and_long_enough_after_the_first",),
    ),
    Mutant(
        "M17",
        "one more than `max_deletions` is let by",
        "deletion.py",
        "    if eligible > rules.max_deletions:",
        "    if eligible > rules.max_deletions + 1:",
        (
            "tests/test_deletion.py::test_a_guard_is_tripped_by_more_than_so_many_a_share_an_emptied_folder_a_directory",
        ),
    ),
    Mutant(
        "M17b",
        "the guards count a pass, not a day",
        "evidence.py",
        "            len(counted) + self._ledger.gone_lately(row),",
        "            len(counted),",
        ("tests/test_mirroring.py::test_the_guard_counts_over_a_day_and_not_over_a_pass",),
    ),
    Mutant(
        "M17c",
        "the guard counts over minutes and not over a day",
        "deletion.py",
        "WINDOW_SECONDS = 86_400.0",
        "WINDOW_SECONDS = 600.0",
        ("tests/test_mirroring.py::test_the_guard_counts_over_a_day_and_not_over_a_pass",),
    ),
    Mutant(
        "M18",
        "the grace goes by the wall clock",
        "evidence.py",
        "        self._ledger.tick(one.root_id, served, problem)",
        """\
        served = max(0.0, now.wall - float(self._ledger.fact(JUMPED) or now.wall))
        self._ledger.tick(one.root_id, served, problem)""",
        ("tests/test_mirroring.py::test_a_restart_loses_no_evidence_and_the_time_in_between_is_not_served",),
    ),
    Mutant(
        "M18b",
        "a wall clock that jumps is believed",
        "evidence.py",
        "if abs(parted) > JUMP_SECONDS:",
        "if abs(parted) < 0:",
        ("tests/test_mirroring.py::test_a_clock_that_jumps_has_the_evidence_begin_again",),
    ),
    Mutant(
        "M19",
        "the study is deleted",
        "removal.py",
        """\
            due.study_instance_uid, due.series_instance_uid, due.sop_instance_uid, alone=True
""",
        """\
            due.study_instance_uid, "", "", alone=True
""",
        (
            "tests/test_mirroring.py::"
            "test_what_is_removed_soon_after_it_was_stored_is_deleted_after_its_grace_and_not_before",
        ),
    ),
    Mutant(
        "M20",
        "evidence goes on under other patterns, or another config",
        "ledger/mirrors.py",
        "        elif row[1] != conditions:",
        "        elif row[1] is None:",
        ("tests/test_mirroring.py::test_another_config_has_the_evidence_begin_again",),
    ),
    Mutant(
        "M20b",
        "what other patterns bring to light came live",
        "ledger/files.py",
        "CASE WHEN patterns = ?2 THEN scanned_at END",
        "scanned_at",
        (
            "tests/test_mirroring.py::"
            "test_what_other_patterns_bring_to_light_was_there_before_and_is_not_mirrored",
        ),
    ),
    Mutant(
        "M21",
        "a ledger that was lost may delete what was stored before",
        "ledger/mirrors.py",
        "            ledger_trusted=one.due.instance_id > self._last_distrusted(LEDGER_FROM),",
        "            ledger_trusted=True,",
        ("tests/test_mirroring.py::test_what_was_stored_before_the_ledger_was_restored_is_never_deleted",),
    ),
    Mutant(
        "M21b",
        "a ledger made anew may delete",
        "deletion.py",
        "if not left.ledger_trusted:",
        "if left.ledger_trusted is None:",
        ("tests/test_deletion.py::test_only_what_we_stored_ourselves_live_and_saw_vanish_soon_is_eligible",),
    ),
    Mutant(
        "I4",
        "it is deleted without a copy that is equal",
        "removal.py",
        "            if running.digest() != due.sha256 or fetched_bytes != due.size_bytes:",
        "            if fetched_bytes < 0:",
        ("tests/test_mirroring.py::test_it_is_told_why_nothing_came_of_it",),
    ),
    Mutant(
        "M2",
        "an error in looking is taken for absence",
        "scan.py",
        """\
        except OSError as error:
            found.append(os.strerror(error.errno or 0))""",
        """\
        except OSError:
            found.append(None)""",
        ("tests/test_scan.py::test_no_error_but_one_proves_absence",),
    ),
    Mutant(
        "M2b",
        "a directory that cannot be read is taken for an empty one",
        "listings.py",
        """\
    except OSError as error:
        words = os.strerror(error.errno or 0)
        return Listing(directory, problem=words, proves_absence=False), []
    try:""",
        """\
    except OSError:
        return Listing(directory), []
    try:""",
        ("tests/test_scan.py::test_a_directory_that_cannot_be_read_says_why_and_the_others_are_read",),
    ),
    Mutant(
        "M4",
        "an instance that a 2xx does not name is stored",
        "rules.py",
        '    return unconfirmed(due, "silent", confirm_wait, together=1 if status == 409 else None)',
        """\
    if status < 300:
        return Transition(due.instance_id, InstanceState.STORED)
    return unconfirmed(due, "silent", confirm_wait, together=1 if status == 409 else None)""",
        ("tests/test_rules.py::test_an_instance_that_is_not_named_is_asked_about",),
    ),
    Mutant(
        "M5",
        "409 is stored",
        "rules.py",
        """\
    if status < 300 or status == 409:
        return Verdict(""",
        """\
    if status == 409:
        return Verdict(tuple(Transition(d.instance_id, InstanceState.STORED) for d in batch), signal)
    if status < 300:
        return Verdict(""",
        ("tests/test_rules.py::test_a_status_alone_says_this_of_the_batch_and_of_the_archive",),
    ),
    Mutant(
        "M6",
        "after a timeout it is sent again at once",
        "rules.py",
        """\
    if sent_bytes == 0:
        return _paused(batch, "no-answer", signal)""",
        """\
    if sent_bytes == 0 or why == "timeout":
        return _paused(batch, "no-answer", signal)""",
        ("tests/test_rules.py::test_where_bytes_were_sent_each_instance_is_asked_about",),
    ),
    Mutant(
        "M7",
        "a body that cannot be read is a success",
        "rules.py",
        """\
    if status < 300 or status == 409:
        return Verdict(""",
        """\
    if status < 300:
        return Verdict(tuple(Transition(d.instance_id, InstanceState.STORED) for d in batch), signal)
    if status == 409:
        return Verdict(""",
        ("tests/test_rules.py::test_a_status_alone_says_this_of_the_batch_and_of_the_archive",),
    ),
    Mutant(
        "M8",
        "one look that does not find it allows a resend",
        "rules.py",
        "    if due.looks + 1 < 2:",
        "    if due.looks + 1 < 1:",
        ("tests/test_rules.py::test_absent_needs_two_looks_and_the_waits_between_them",),
    ),
    Mutant(
        "M9",
        "whether the whole body was taken is not asked",
        "dicomweb/store.py",
        "    sent_bytes, complete = body.sent_bytes, body.exhausted",
        "    sent_bytes, complete = body.sent_bytes, True",
        ("tests/test_client.py::test_an_early_success_is_not_complete",),
    ),
    Mutant(
        "M9b",
        "an answer to half a request is believed",
        "rules.py",
        "    if not answer.complete and (answer.status < 300 or answer.response is not None):",
        "    if not answer.complete and answer.status >= 600:",
        ("tests/test_rules.py::test_a_success_that_came_before_the_request_was_read_is_none",),
    ),
    Mutant(
        "M10",
        "one look is enough to be settled",
        "settle.py",
        """\
        return settle_seconds
    left""",
        """\
        return 0.0
    left""",
        ("tests/test_settle.py::test_a_file_never_looked_at_before_waits_the_whole_settle_time",),
    ),
    Mutant(
        "M10b",
        "a file is not looked at again once it was sent",
        "copies.py",
        """\
            finally:
                _same(descriptor, key)""",
        """\
            finally:
                pass""",
        ("tests/test_changed_meanwhile.py::test_a_file_overwritten_while_it_is_sent_is_not_called_stored",),
    ),
    Mutant(
        "M11",
        "what a parser reads is whole",
        "walk.py",
        "    noise = tag >> 16",
        """\
    if not _seen_pixels(hits):
        return
    noise = tag >> 16""",
        ("tests/test_header.py::test_an_object_without_pixels_passes_only_when_cut_between_two_elements",),
    ),
    Mutant(
        "M11b",
        "pixel data shorter than the image is whole",
        "header.py",
        "            if length < expected:",
        "            if length < 0:",
        ("tests/test_header.py::test_a_file_that_is_not_a_whole_instance_is_held_with_its_reason",),
    ),
    Mutant(
        "M12",
        "equal UIDs are equal contents",
        "claims.py",
        """\
    if other.size_bytes != new.key.size_bytes or not _same_place(new, other):
        return False
""",
        """\
    return True
""",
        ("tests/test_claims.py::test_contents_that_look_alike_are_compared_by_their_bytes",),
    ),
    Mutant(
        "M13",
        "a file with the same size and time is the same file",
        "intake.py",
        "            if row is not None and row.key == entry.key and self._unchanged(row, now):",
        """\
            same = row is not None and row.key.size_bytes == entry.key.size_bytes
            if row and same and row.key.mtime_ns == entry.key.mtime_ns and self._unchanged(row, now):""",
        ("tests/test_changed_meanwhile.py::test_other_content_of_the_same_size_time_and_inode_is_seen",),
    ),
    Mutant(
        "M14",
        "a file with the same inode is the same file",
        "intake.py",
        "            if row is not None and row.key == entry.key and self._unchanged(row, now):",
        "            if row is not None and row.key.inode == entry.key.inode and self._unchanged(row, now):",
        ("tests/test_engine.py::test_a_held_file_that_is_completed_goes",),
    ),
    Mutant(
        "M15",
        "a commit is not on the disk",
        "ledger/opening.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        (
            "tests/test_ledger.py::test_what_was_committed_survives_a_power_cut_because_every_commit_is_synced",
        ),
    ),
    Mutant(
        "M15b",
        "what is sent is handed out before it is committed",
        "engine.py",
        """\
                works = [] if self._stopping else self._plan(now)
""",
        """\
                works = [] if self._stopping else self._plan(now)
                for work in works:
                    self._start(work)
                self._out, works = self._out + len(works), []
""",
        ("tests/test_engine.py::test_a_lost_answer_is_asked_about_and_nothing_is_sent_again",),
    ),
    Mutant(
        "M22",
        "redirects are followed",
        "dicomweb/session.py",
        "self._transport.handle_request(request)",
        "httpx.Client(transport=self._transport, follow_redirects=True).send(request, stream=True)",
        ("tests/test_client.py::test_a_redirect_is_an_answer_and_never_followed",),
    ),
    Mutant(
        "M22b",
        "the environment adds authorities",
        "dicomweb/route.py",
        "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        "ssl.create_default_context()",
        ("tests/test_tls.py::test_the_environment_adds_no_authority_and_gets_no_session_keys",),
    ),
    Mutant(
        "M23",
        "an exception's text is logged",
        "control.py",
        'log.error("a command could not be answered (%s)", type(error).__name__)',
        'log.error("a command could not be answered (%s)", error)',
        ("tests/test_control.py::test_what_goes_wrong_inside_is_told_and_logged_without_its_text",),
    ),
    Mutant(
        "M23b",
        "an exception's text is an error's",
        "dicomweb/wire.py",
        """\
        found = found.__cause__ or found.__context__
    return name""",
        """\
        found = found.__cause__ or found.__context__
    return str(error)""",
        ("tests/test_client.py::test_every_exception_of_httpcore_ends_as_no_answer",),
    ),
    Mutant(
        "M24",
        "a name that is no text is made into one",
        "listings.py",
        '    more = os.fsencode("/".join(fresh)).split(b"/") if fresh else []',
        '    more = "/".join(fresh).encode("utf-8", "replace").split(b"/") if fresh else []',
        ("tests/test_scan.py::test_any_name_a_disk_can_hold_is_found_and_kept_byte_for_byte",),
    ),
    Mutant(
        "I0",
        "a directory that agreed with the ledger once is never compared again",
        "ledger/migrations.py",
        "UPDATE directories SET agreed = NULL WHERE id",
        "UPDATE directories SET agreed = agreed WHERE id",
        ("tests/test_agreement.py::test_whoever_writes_a_row_of_it_ends_the_agreement",),
    ),
    Mutant(
        "I1",
        "the rest of a large directory is never read",
        "listings.py",
        "    upto = names[-1] if cut else None",
        "    upto = None",
        (
            "tests/test_scan.py::test_a_large_directory_is_read_in_parts_with_every_name_exactly_once_and_in_order",
        ),
    ),
    Mutant(
        "I2",
        "an answer that says both is believed",
        "rules.py",
        "        if uid in stored and uid in failed:",
        "        if uid in stored and uid not in stored:",
        ("tests/test_rules.py::test_an_instance_in_both_sequences_is_asked_about",),
    ),
    Mutant(
        "I2b",
        "a UID named elsewhere in the answer is stored",
        "dicomweb/response.py",
        "    for item in items(dataset, _REFERENCED):",
        "    for item in [*items(dataset, _REFERENCED), *items(dataset, _FAILED)]:",
        ("tests/test_response.py::test_a_plain_module_is_read_in_order",),
    ),
    Mutant(
        "I3",
        "what grew while it was read is called whole",
        "header.py",
        "        return header if seen.fits(after) else Changed(StatKey.of(after))",
        "        return header",
        ("tests/test_header.py::test_a_file_that_changes_while_it_is_read_has_changed",),
    ),
    Mutant(
        "I5",
        "files are opened to be written",
        "copies.py",
        "os.O_RDONLY | os.O_NONBLOCK",
        "os.O_RDWR | os.O_NONBLOCK",
        ("tests/test_simulation_found.py",),
    ),
    Mutant(
        "I6",
        "other content is sent over what is stored",
        "claims.py",
        """\
    if taken.state is InstanceState.PENDING and (taken.path is None or path < taken.path):
        return Decision(Claim.DISPLACES""",
        """\
    if taken.path is None or path < taken.path:
        return Decision(Claim.DISPLACES""",
        ("tests/test_claims.py::test_contents_that_differ_on_the_outside_need_no_reading",),
    ),
    Mutant(
        "I7",
        "a study that is not in the archive yet may have two requests on their way",
        "delivery.py",
        "live=kind) if self._may_take(one)]",
        "live=kind)]",
        ("tests/test_engine.py::test_one_request_a_study_is_on_its_way_at_a_time",),
    ),
    Mutant(
        "I7b",
        "after a restart what was on its way is sent again",
        "ledger/instances.py",
        "UPDATE instances SET state = 'unconfirmed', reason = 'restart'",
        "UPDATE instances SET state = 'pending', reason = 'restart'",
        ("tests/test_engine.py::test_what_was_on_its_way_when_it_died_is_asked_about",),
    ),
    Mutant(
        "I8",
        "a command is told before it is committed",
        "engine.py",
        "        return partial(self.future.set_result, result)",
        """\
        self.future.set_result(result)
        return lambda: None""",
        ("tests/test_orders.py::test_an_order_is_done_only_when_it_is_committed",),
    ),
    Mutant(
        "I9",
        "two may have the ledger",
        "ledger/opening.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB)\n        holding.mark(descriptor)",
        "fcntl.LOCK_SH | fcntl.LOCK_NB)",
        ("tests/test_ledger.py::test_a_second_writer_in_this_process_is_refused",),
    ),
    Mutant(
        "I13",
        "what has not changed is read again",
        "intake.py",
        """\
            if row is not None and row.key == entry.key and self._unchanged(row, now):
""",
        """\
            if row is not None and row.key == entry.key and self._unchanged(row, now) and not row:
""",
        ("tests/test_engine.py::test_a_second_pass_over_what_is_stored_asks_and_sends_nothing",),
    ),
    Mutant(
        "I14",
        "a run that leaves cases for a person ends well",
        "service.py",
        "        return 20 if self.for_a_person else 0",
        "        return 0",
        ("tests/test_cli.py::test_a_single_bad_file_is_told",),
    ),
    Mutant(
        "I14b",
        "a run that was cut short ends well",
        "service.py",
        """\
            return 5
        return 20""",
        """\
            return 0
        return 20""",
        ("tests/test_cli.py::test_patience_ends_a_run_that_a_growing_file_would_keep_alive",),
    ),
    Mutant(
        "I15",
        "a question without an answer is an absence",
        "jobs.py",
        "Found(due.instance_id, Finding.FAILED) for due in batch), signal_of(error))",
        "Found(due.instance_id, Finding.ABSENT) for due in batch), signal_of(error))",
        ("tests/test_engine.py::test_a_question_without_an_answer_is_no_absence",),
    ),
    Mutant(
        "I15b",
        "a 404 to one resource proves an absence",
        "dicomweb/presence.py",
        """\
    if len(found) < len(uids):
        session.prove()  # a wrong base URL gives 404 as well
""",
        "",
        (
            "tests/test_client_reads.py",
            "tests/test_client.py",
        ),
    ),
)


class Stale(Exception):
    """What a mutant replaces is not in its file just once: the mutant speaks of code that is gone."""


def mutated(text: str, mutant: Mutant) -> str:
    """Give a file's text with the mistake in it."""
    if text.count(mutant.old) != 1:
        raise Stale(f"{mutant.name}: {text.count(mutant.old)} places in {mutant.file} are as it says")
    return text.replace(mutant.old, mutant.new)


def survives(mutant: Mutant) -> str:
    """Run the killers on a copy with the mistake in it; gives "" if they see it, else what they printed.

    Only tests that ran and failed count: a copy that cannot even be imported proves nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as home:
        copy = Path(home)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name)
            else:
                shutil.copy2(ROOT / name, copy / name)
        file = copy / "dicomsync" / mutant.file
        file.write_text(mutated(file.read_text(), mutant))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        done = subprocess.run(
            [*command, *mutant.killers],
            cwd=copy,
            env={name: one for name, one in os.environ.items() if not name.startswith("PYTEST")}
            | {"PYTHONPATH": home},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return (
            ""
            if done.returncode == 1
            else f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


def main() -> int:
    """Try the mutants, print a line for each, and give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only these")
    names = parser.parse_args().names
    wanted = [one for one in MUTANTS if not names or one.name in names or one.name.rstrip("abc") in names]
    left = []
    for one in wanted:
        began = time.monotonic()
        printed = survives(one)
        fate = "SURVIVES" if printed else "killed"
        print(f"{one.name:<5}{fate:<10}{time.monotonic() - began:5.1f} s  {one.words}", flush=True)
        print(f"{'':<23}{', '.join(one.killers)}")
        if printed:
            left.append(one.name)
            print(printed)
    print(f"mutants: {len(wanted)} tried, {len(left)} survive")
    return 1 if left or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
