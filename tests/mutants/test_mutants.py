"""Wrong programs that a weak suite would pass: each is one changed line, and the named tests must fail on it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong program: in `file`, `right` (which stands there exactly once) becomes `wrong`; `tests` must notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


MUTANTS = (
    Mutant(
        name="the cost forgets that depthwise convolutions have groups",
        file="cost.py",
        right="outputs * conv.kernel**2 * (conv.in_channels // conv.groups)",
        wrong="outputs * conv.kernel**2 * conv.in_channels",
        tests="tests/cli/test_show.py::test_cost",
    ),
    Mutant(
        name="the roadmap shows the paper's multiply-adds instead of counting",
        file="cli/show.py",
        right='"gmacs": counted.gmacs,\n        "params"',
        wrong='"gmacs": compared.gmacs if compared else counted.gmacs,\n        "params"',
        tests="tests/cli/test_show.py::test_roadmap",
    ),
    Mutant(
        name="the stride of an inverted block moves to its first convolution",
        file="layout.py",
        right="stride=stride if at == mixer_at else 1",
        wrong="stride=stride if at == 0 else 1",
        tests="tests/cli/test_show.py::test_roadmap",
    ),
    Mutant(
        name="LayerNorm has torch's own eps",
        file="layers.py",
        right="LAYER_NORM_EPS = 1e-6",
        wrong="LAYER_NORM_EPS = 1e-5",
        tests="tests/test_parity.py::test_logits_and_all_gradients_agree_in_float64[timm-convnext_atto]",
    ),
    Mutant(
        name="norms and the LayerScale of a LayerNorm net are decayed",
        file="train/optim.py",
        right='parameter.ndim > 1 and name not in undecayed and name.rpartition(".")[2] not in ("bias", "gamma")',
        wrong='name.rpartition(".")[2] != "bias"',
        tests="tests/train/test_optim.py::test_decay_reaches_kernels_and_matrices_only",
    ),
    Mutant(
        name="a layer of layer-wise decay has four blocks",
        file="train/optim.py",
        right="BLOCKS_A_LAYER = 3",
        wrong="BLOCKS_A_LAYER = 4",
        tests="tests/train/test_optim.py::test_layers_by_hand",
    ),
    Mutant(
        name="every layer learns at the same rate after the first step",
        file="train/optim.py",
        right='group["lr"] = lr * group["lr_scale"]',
        wrong='group["lr"] = lr',
        tests="tests/train/test_optim.py::test_each_group_has_its_share_of_the_learning_rate",
    ),
    Mutant(
        name="fine-tuning at 384 drops as much of B as training from scratch",
        file="paper_recipes.py",
        right="base=0.8, large=0.95",
        wrong="base=0.5, large=0.5",
        tests="tests/test_recipes.py::test_every_field_is_the_papers",
    ),
    Mutant(
        name="stochastic depth never reaches the last block",
        file="network.py",
        right="torch.linspace(0, drop_path, sum(depths), device",
        wrong="torch.linspace(0, drop_path, sum(depths) + 1, device",
        tests="tests/test_network.py::test_stochastic_depth_grows_linearly_over_all_blocks",
    ),
    Mutant(
        name="every step draws the same stochastic depth",
        file="train/engine.py",
        right="step_seeds(self.seed, step, rank=",
        wrong="step_seeds(self.seed, 0, rank=",
        tests="tests/train/test_resume.py::test_every_step_draws_anew_and_by_the_seed",
    ),
    Mutant(
        name="the average reaches over 10,000 steps, however short the run",
        file="train/engine.py",
        right="ema_decay(decay, self.steps)",
        wrong="0.9999",
        tests="tests/train/test_loop.py::test_the_average_follows_every_step_and_auto_follows_the_length_of_the_run",
    ),
    Mutant(
        name="the raw weights are scored as the average",
        file="train/engine.py",
        right='found["ema"] = self.ema.model',
        wrong='found["ema"] = self.model',
        tests="tests/train/test_loop.py::test_both_weights_are_scored_and_each_row_holds_its_own",
    ),
    Mutant(
        name="a resumed run starts its epoch again",
        file="data/plans.py",
        right="own = pieces[first_step:, share.rank]",
        wrong="own = pieces[: len(pieces) - first_step, share.rank]",
        tests="tests/data/test_loader.py::test_entering_in_mid_epoch",
    ),
    Mutant(
        name="a resumed run forgets its best epoch",
        file="train/checkpoint.py",
        right='**sequences, "best": best})',
        wrong='**sequences, "best": None})',
        tests="tests/train/test_resume.py::test_stopped_by_signals_and_resumed_equals_never_stopped[(7,)-batch]",
    ),
    Mutant(
        name="a picture is varied the same way in every epoch",
        file="data/loader.py",
        right="SeedSequence([self.seed, *place])",
        wrong="SeedSequence([self.seed, 0, place[1]])",
        tests="tests/data/test_loader.py::test_pixels_follow_from_seed_epoch_and_index_alone",
    ),
    Mutant(
        name="RandAugment has no noise on its magnitudes",
        file="data/randaugment.py",
        right="magnitude = generator.normal(magnitude, policy.std)",
        wrong="magnitude = policy.magnitude",
        tests="tests/data/test_randaugment.py::test_draws_have_timms_distribution",
    ),
    Mutant(
        name="RandAugment moves digits out of sight",
        file="data/augment.py",
        right="most_translation=1 - safe.min_crop_scale",
        wrong="most_translation=1.0",
        tests="tests/data/test_augment.py::test_randaugment_of_digits_moves_no_more_out_of_sight_than_a_crop_may",
    ),
    Mutant(
        name="a JPEG is cut without the rows that smooth the colours above",
        file="data/jpeg.py",
        right="rows_below=0 if rows == 1 else 2 * rows",
        wrong="rows_below=0",
        tests="tests/data/test_jpeg.py::test_any_rows_equal_pillows",
    ),
    Mutant(
        name="the share of CutMix is the one that was drawn, not what the box leaves",
        file="data/mixing.py",
        right="share=1 - (bottom - top) * (right - left) / (height * width)",
        wrong="share=share",
        tests="tests/data/test_mixing.py::test_the_share_is_what_the_box_leaves",
    ),
    Mutant(
        name="the own class gets no part of what label smoothing spreads",
        file="data/mixing.py",
        right="1 - smoothing + off)",
        wrong="1 - smoothing)",
        tests="tests/data/test_mixing.py::test_targets_are_smoothed_and_then_mixed",
    ),
    Mutant(
        name="digits are mirrored in training",
        file="tasks/classify.py",
        right="label_safe=self.source.label_safe,",
        wrong="label_safe=LabelSafe(),",
        tests="tests/tasks/test_classify.py::test_training_pictures_obey_the_source",
    ),
    Mutant(
        name="the last, shorter batch is not scored",
        file="data/plans.py",
        right="np.split(own, range(size, num_pictures, size))",
        wrong="np.split(own, range(size, num_pictures, size))[: num_pictures // size]",
        tests="tests/data/test_loader.py::test_evaluation_gives_each_picture_once_in_order",
    ),
    Mutant(
        name="evaluation scores pictures that were trained on",
        file="evaluate.py",
        right='seed=run["split_seed"]',
        wrong="seed=0",
        tests="tests/test_run.py::test_evaluating_a_run_takes_the_pictures_that_it_held_out",
    ),
    Mutant(
        name="loading runs code from a file",
        file="files.py",
        right="weights_only=True",
        wrong="weights_only=False",
        tests="tests/test_files.py::test_code_in_a_pickle_does_not_run",
    ),
    Mutant(
        name="the hash of a file is not compared",
        file="files.py",
        right="if _digest(tensors, stored[METADATA_KEY]) != stored[HASH_KEY]:",
        wrong="if len(stored[HASH_KEY]) != 64:",
        tests="tests/test_files.py::test_every_flipped_bit_is_noticed",
    ),
    Mutant(
        name="a tar that was changed is read by its old index",
        file="data/tar_index_file.py",
        right="changed_ns=status.st_mtime_ns",
        wrong="changed_ns=0",
        tests="tests/data/test_shards.py::test_touched_tar_is_not_taken_for_the_old_one",
    ),
    Mutant(
        name="the teddy bear's row in a head of 22K is that of a chemise",
        file="labels.py",
        right='"n04399382": "n04461879"',
        wrong='"n04399382": "n03013580"',
        tests="tests/test_labels.py::test_rows_of_1k_in_22k",
    ),
    Mutant(
        name="near copies are only looked for where a part of the hash is quite the same",
        file="data/check/duplicates.py",
        right="for flip in (0, *(1 << bit for bit in range(WORD_BITS))):",
        wrong="for flip in (0,):",
        tests="tests/data/test_duplicates.py::test_all_hashes_within_seven_bits_are_proposed_and_none_beyond",
    ),
    Mutant(
        name="a score that luck explains passes for better than chance",
        file="train/alarm.py",
        right="row[weights][self._target] > bar",
        wrong="row[weights][self._target] > self._chance",
        tests="tests/train/test_alarm.py::test_no_better_than_chance_is_told_once_when_it_is_time",
    ),
    Mutant(
        name="waiting for pictures is counted as learning from them",
        file="train/timing.py",
        right="computed.append(total - wait)",
        wrong="computed.append(total)",
        tests="tests/train/test_timing.py::test_waiting_for_pictures_is_told_apart",
    ),
    Mutant(
        name="a checkpoint is overwritten in place",
        file="files.py",
        right="temporary.replace(path)",
        wrong="path.write_bytes(temporary.read_bytes())",
        tests="tests/test_files.py::test_a_failure_leaves_the_old_file_alone",
    ),
    Mutant(
        name="a resumed run begins again at step 0",
        file="run.py",
        right="return _carry_out(folder, prepared, checkpoint, reporter)",
        wrong="return _carry_out(folder, prepared, None, reporter)",
        tests="tests/test_torture.py::test_killed_three_times_and_resumed_equals_never_killed",
    ),
    Mutant(
        name="the old checkpoint is moved away before the new one is in place",
        file="files.py",
        right="os.link(path, second)",
        wrong="os.rename(path, second)",
        tests="tests/test_rotation.py::test_at_every_moment_there_is_a_whole_file",
    ),
    Mutant(
        name="workers of a killed training keep its folder locked",
        file="train/lock.py",
        right="os.register_at_fork(after_in_child=held.drop)",
        wrong="pass",
        tests="tests/train/test_lock.py::test_the_lock_of_a_killed_training_is_free_at_once_though_its_worker_lives",
    ),
    Mutant(
        name="a drawing does not mark what the one before lacked",
        file="diagrams/changes.py",
        right="if old.get(name) != new[name]",
        wrong="if name in old and old[name] != new[name]",
        tests="tests/diagrams/test_changes.py",
    ),
    Mutant(
        name="a sweep that is started again trains its finished runs anew",
        file="lab/conduct.py",
        right="if is_run(place):",
        wrong="if is_run(place) and False:",
        tests="tests/lab/test_conduct.py::test_interrupted_in_mid_run_it_goes_on_there_and_ends_with_the_same_bits",
    ),
    Mutant(
        name="two shards train the same runs",
        file="lab/sweep.py",
        right="if least == number - 1:",
        wrong="if least <= number - 1:",
        tests="tests/lab/test_conduct.py::test_shares_divide_the_runs",
    ),
    Mutant(
        name="a second Ctrl-C does not end what the first began to end",
        file="cli/interrupts.py",
        right="if self.came or self.told:",
        wrong="if False:",
        tests="tests/cli/test_interrupts.py::test_one_sentence_whatever_goes_on",
    ),
    Mutant(
        name="the report shows the best epoch instead of the last",
        file="lab/results.py",
        right='top1=last[weights]["top1"]',
        wrong='top1=summary["best"]["top1"]',
        tests="tests/lab/test_results.py",
    ),
    Mutant(
        name="the noise is pooled over all runs as if the rows were one",
        file="lab/statistics.py",
        right="freedom = sum(len(group) - 1 for group in several)",
        wrong="freedom = sum(len(group) for group in several) - 1",
        tests="tests/lab/test_statistics.py",
    ),
    Mutant(
        name="an order that undoes a wider net is built all the same",
        file="roadmap.py",
        right="if shared and STEPS.index(before) > STEPS.index(after):",
        wrong="if shared and STEPS.index(before) > STEPS.index(after) + 99:",
        tests="tests/test_roadmap.py::test_an_order_that_cannot_be_built_is_refused_with_the_reason",
    ),
    Mutant(
        name="programs are compared with LayerScale at 1e-6",
        file="bench/randomise.py",
        right="parameter.normal_(0.0, 0.5, generator=generator)",
        wrong="pass",
        tests="tests/bench/test_program.py::test_nothing_of_a_network_can_be_left_out_unnoticed[convnext_atto]",
    ),
    Mutant(
        name="only the first picture's logits are compared",
        file="bench/check.py",
        right=".mean(dim=1).sqrt().max() / spread",
        wrong=".mean(dim=1).sqrt()[0] / spread",
        tests="tests/bench/test_program.py::test_a_wrong_program_does_not_pass",
    ),
    Mutant(
        name="a program's fastest round is held against the reference's fastest",
        file="bench/numbers.py",
        right="zip(round_seconds, reference_seconds, strict=True)",
        wrong="zip(sorted(round_seconds), sorted(reference_seconds), strict=True)",
        tests="tests/bench/test_numbers.py",
    ),
    Mutant(
        name="a bench times the rows of its record again",
        file="bench/record.py",
        right="return row is not None and row.failed is None",
        wrong="return row is not None and row.failed is None and False",
        tests="tests/bench/test_conduct.py::test_what_is_done_is_not_timed_again_and_what_failed_is",
    ),
    Mutant(
        name="on ImageNet-A and R all classes compete",
        file="examine.py",
        right="return with_rows(loaded, known, exam.only), (*notes, said)",
        wrong="return loaded, (*notes, said)",
        tests="tests/test_examine.py::test_only_200_classes_compete",
    ),
    Mutant(
        name="the mean corruption error is a mean error",
        file="robustness/corruption_score.py",
        right="relative=sum(own.values()) / alexnet",
        wrong="relative=sum(own.values()) / len(own)",
        tests="tests/robustness/test_corruption_score.py",
    ),
    Mutant(
        name="the folders of ImageNet-V2 are numbered in the order of their texts",
        file="robustness/sets.py",
        right="tuple(wnids[int(name)] for name in pictures.classes)",
        wrong="tuple(wnids[place] for place, _ in enumerate(pictures.classes))",
        tests="tests/robustness/test_sets.py::test_v2_folders_are_numbers_not_texts",
    ),
    Mutant(
        name="what is around a picture is the mean colour upside down",
        file="tasks/detect.py",
        right="images[index, :, height:] = 0",
        wrong="pass",
        tests="tests/tasks/test_detect.py::test_what_is_around_a_picture_is_zero_after_normalising_and_nothing_else_is",
    ),
    Mutant(
        name="both heads of a segmenter count alike",
        file="tasks/segment.py",
        right='losses["main"] + self.part.aux_weight * auxiliary',
        wrong='losses["main"] + auxiliary',
        tests="tests/tasks/test_segment.py::test_the_auxiliary_head_is_weighted",
    ),
    Mutant(
        name="boxes stay in pixels of the resized picture",
        file="tasks/detect.py",
        right="return [on_original(one, *pair) for one, pair in zip(found, sizes, strict=True)]",
        wrong="return list(found)",
        tests="tests/tasks/test_detect.py::test_what_is_right_in_the_original_pictures_scores_all",
    ),
    Mutant(
        name="regions are sampled half a pixel off, as torchvision does",
        file="detection/pool.py",
        right="sampling_ratio=0, aligned=True",
        wrong="sampling_ratio=0, aligned=False",
        tests="tests/detection/test_conventions.py",
    ),
    Mutant(
        name="all stages of a cascade weigh alike",
        file="detection/staged.py",
        right="iou=0.7, low_quality=False, weight=0.25",
        wrong="iou=0.7, low_quality=False, weight=1.0",
        tests="tests/detection/test_staged.py::test_later_stages_learn_from_moved_boxes_at_higher_overlaps_and_weigh_less",
    ),
    Mutant(
        name="windows are summed and not averaged",
        file="segmentation/sliding.py",
        right="return total.div_(_counts(rows, height, total)[:, None]).div_(_counts(columns, width, total))",
        wrong="return total",
        tests="tests/segmentation/test_sliding.py",
    ),
    Mutant(
        name="in use a picture is scaled by another resampler than in training",
        file="dense_predict.py",
        right="resized(sample_of(picture), size).pixels",
        wrong="np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))",
        tests="tests/test_run_dense.py::test_pictures_are_seen_in_use_as_in_scoring",
    ),
    Mutant(
        name="what a step learns from hangs on how many pictures go through the network at once",
        file="data/plans.py",
        right="batches = order.reshape(self.steps_per_epoch, self._batch_size)",
        wrong="batches = order.reshape(1, -1)",
        tests="tests/data/test_plans.py",
    ),
    Mutant(
        name="the doctor takes a scored batch for a picture",
        file="train/timing.py",
        right="/ sum(pictures[1:])",
        wrong="/ (len(ends) - 1)",
        tests="tests/train/test_timing.py::test_scoring_counts_both_weights",
    ),
)


@pytest.fixture(scope="module")
def warm() -> Iterator[subprocess.Popen[str]]:
    # Importing torch and torchvision takes longer than most of these tests.
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm.py")],
        cwd=ROOT,
        # None of these tests needs a plugin, and finding them takes a second each time.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.communicate()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_suite_kills(mutant: Mutant, warm: subprocess.Popen[str], tmp_path: Path) -> None:
    package = tmp_path / "src" / "convnext"
    shutil.copytree(ROOT / "src" / "convnext", package)
    text = (package / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.right) == 1, f"{mutant.file} no longer holds the line that this mutant changes"
    (package / mutant.file).write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    asked = {"source": str(package.parent), "tests": mutant.tests.split(), "out": str(tmp_path / "printed")}
    assert warm.stdin is not None and warm.stdout is not None
    warm.stdin.write(json.dumps(asked) + "\n")
    warm.stdin.flush()
    code = warm.stdout.readline().strip()
    printed = (tmp_path / "printed").read_text(encoding="utf-8")
    # 1 is "tests failed"; a mutant that cannot even be imported, or tests that are not found, prove nothing.
    assert code == "1", f"survived (exit code {code}):\n{printed[-2000:]}"
    assert "\nFAILED " in printed, printed[-2000:]


def test_tests_pass_where_nothing_was_changed(warm: subprocess.Popen[str], tmp_path: Path) -> None:
    asked = {"source": str(ROOT / "src"), "tests": ["tests/train/test_optim.py"], "out": str(tmp_path / "printed")}
    assert warm.stdin is not None and warm.stdout is not None
    warm.stdin.write(json.dumps(asked) + "\n")
    warm.stdin.flush()
    assert warm.stdout.readline().strip() == "0", (tmp_path / "printed").read_text(encoding="utf-8")[-2000:]
