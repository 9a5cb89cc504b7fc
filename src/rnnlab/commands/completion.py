"""Tab completion: Hydra's, behind the verbs.

``eval "$(rnnlab -sc install=bash)"`` installs it. The shell then asks with
``rnnlab -sc query=bash`` and the line typed so far in the environment.
"""

import os
import re
import sys

from rnnlab.commands.composition import register_resolvers
from rnnlab.errors import nearest

SHELLS = ("bash", "fish", "zsh")


def complete(arguments: list[str], verbs: list[str]) -> int:
    """Answers a shell: the verbs first, then for ``train`` what Hydra knows."""
    request = arguments[0] if arguments else ""
    if not re.fullmatch(r"(install|uninstall|query)=\w+", request):
        print(
            'rnnlab: -sc takes install=SHELL or uninstall=SHELL (bash, fish, zsh): eval "$(rnnlab -sc install=bash)"',
            file=sys.stderr,
        )
        return 2
    if request.partition("=")[2] not in SHELLS:
        hint = nearest(request.partition("=")[2], SHELLS)
        print(f"rnnlab: -sc {request}: no such shell{hint} (there are {', '.join(SHELLS)})", file=sys.stderr)
        return 2
    line = os.environ.get("COMP_LINE", "")
    before, _, rest = line.partition("train ")
    if request.startswith("query="):
        words = line.split()
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            typed = words[1] if len(words) == 2 else ""
            print(" ".join(verb for verb in verbs if verb.startswith(typed)))
            return 0
        if "train" not in words[:4]:
            return 0
        # Hydra completes ``PROGRAM overrides``: the verb is part of our program's name
        os.environ["COMP_LINE"] = before + rest
        point = int(os.environ.get("COMP_POINT", len(line)))
        os.environ["COMP_POINT"] = str(max(0, point - len("train ")))
    from rnnlab.commands import hydra_internals

    parser = hydra_internals.arguments()
    register_resolvers()
    hydra_internals.show(parser.parse_args(["-sc", *arguments]), parser)
    return 0
