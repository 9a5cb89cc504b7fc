"""Connected digits, said by the synthetic voices of espeak-ng, as files of sound and a table of what is said in them.

::

    sudo apt-get install espeak-ng
    python docs/spoken_digits.py spoken_digits
    rnnlab train experiment=spoken_digits data.path=spoken_digits

No person speaks in them: they are synthetic, and say nothing about people's speech. Three to seven digits a file. No
accent, timbre, rate or pitch of a split is in another. What is said, and by whom, is a pure function of the seed; what
it sounds like depends on the version of espeak-ng, which the table names.
"""

import argparse
import csv
import random
import shutil
import subprocess
import sys
from pathlib import Path

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = {
    "train": {
        "accent": ("en-gb", "en-us", "en-gb-x-rp", "en-029", "en-us-nyc"),
        "timbre": tuple(
            "m1 m2 m3 m4 f1 f2 f3 Alex Alicia Andrea Andy Annie Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael "
            "Mike Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed edward grandma grandpa gustave "
            "iven john linda max michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph travis "
            "victor zac".split()
        ),
        "rate": (100, 120, 140, 160, 180, 200, 220),
        "pitch": (20, 30, 40, 50, 60, 70, 80),
    },
    "val": {
        "accent": ("en-gb-x-gbcwmd",),
        "timbre": ("m5", "f4", "marcelo"),
        "rate": (110, 150, 190),
        "pitch": (35, 55, 75),
    },
    "test": {
        "accent": ("en-gb-scotland", "en-gb-x-gbclan"),
        "timbre": ("m6", "m7", "m8", "f5"),
        "rate": (130, 170, 210),
        "pitch": (25, 45, 65),
    },
}
"""Options of espeak-ng: ``-v ACCENT+TIMBRE``, ``-s`` words a minute, ``-p`` pitch from 0 to 99."""
GAPS = range(6)
"""Pauses between words: ``-g``, in hundredths of a second at the usual rate."""
SHARES = {"train": 0.75, "val": 0.1, "test": 0.15}
NOTE = """Connected English digits by {version}, made by docs/spoken_digits.py of rnnlab with seed {seed}.
All voices are synthetic: no person speaks here.
manifest.csv has a row for each file: what is said in it, by which voice, at which rate (words a minute) and pitch.
"""


def main() -> int:
    """Writes the folder; returns the exit status."""
    options = argparse.ArgumentParser(description="Digits said by synthetic voices (espeak-ng), for data=speech.")
    options.add_argument("folder", type=Path, help="to be made")
    options.add_argument("--files", type=int, default=2000, help="in all three splits (2000: 190 MB)")
    options.add_argument("--seed", type=int, default=0, help="of what is said, and by whom (0)")
    given = options.parse_args()
    reason = refusal(given)
    if reason:
        print(f"spoken_digits.py: {reason}", file=sys.stderr)
        return 2
    write(given.folder, given.files, given.seed)
    print(f"{given.files:,} synthetic sounds in {given.folder}: rnnlab train experiment=spoken_digits "
          f"data.path={given.folder}")  # fmt: skip
    return 0


def refusal(given: argparse.Namespace) -> str:
    """Why nothing can be made; empty where it can."""
    if shutil.which("espeak-ng") is None:
        return "there is no program espeak-ng here: install it (Debian: sudo apt-get install espeak-ng)"
    if given.files < 20:
        return f"--files {given.files} must be at least 20, so that each split has some"
    if given.folder.exists():
        return f"{given.folder} exists, and nothing is overwritten: give another folder"
    if not given.folder.parent.is_dir():
        return f"{given.folder}: there is no directory {given.folder.parent}"
    # espeak-ng says what it does not have in another voice, without a word
    have = f"{run('espeak-ng', '--voices=en')}{run('espeak-ng', '--voices=variant').replace('!v/', ' ')}".split()
    wanted = [name for voices in VOICES.values() for what in ("accent", "timbre") for name in voices[what]]
    missing = [str(name) for name in wanted if name not in have]
    return f"this version of espeak-ng has no voice {', '.join(missing)}: 1.51 has" if missing else ""


def write(folder: Path, files: int, seed: int) -> None:
    """Makes the sounds, and the table last: where it stands, all of them do."""
    version = " ".join(run("espeak-ng", "--version").split()[:4])
    (folder / "wav").mkdir(parents=True)
    (folder / "README.txt").write_text(NOTE.format(version=version, seed=seed))
    held_out = {split: round(files * SHARES[split]) for split in ("val", "test")}
    rows = []
    for split, voices in VOICES.items():
        rng = random.Random(f"{seed} {split}")
        for number in range(held_out.get(split, files - sum(held_out.values()))):
            text = " ".join(rng.choices(DIGITS, k=rng.randint(3, 7)))
            accent, timbre, rate, pitch = (rng.choice(voices[name]) for name in ("accent", "timbre", "rate", "pitch"))
            gap, place = rng.choice(GAPS), f"wav/{split}_{number:05}.wav"
            voice = f"{accent}+{timbre}"
            run("espeak-ng", "-v", voice, "-s", str(rate), "-p", str(pitch), "-g", str(gap),
                "-w", str(folder / place), text)  # fmt: skip
            rows.append((place, text, voice, split, rate, pitch, gap, version))
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "text", "speaker", "split", "rate", "pitch", "gap", "synthesizer"))
        table.writerows(rows)


def run(*command: str) -> str:
    """What a program says; ends with its complaint where it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or ended.stderr.strip():
        sys.exit(f"spoken_digits.py: {' '.join(command)}: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
