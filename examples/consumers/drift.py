#!/usr/bin/env python3
"""Whether docs/draft-skex-integration.md shows the configurations that the tests run.

A listing of the draft that has the title "Configuration: NAME" is, line by line, what stands in a test between
`# configuration: NAME` and `# end of configuration`, but for the lines of Python around the texts. Every one of a test is in the draft.
"""

import os
import re
import sys
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
MARKED = re.compile(r"# configuration: ([\w-]+)\n(.*?)\n *# end of configuration", re.S)


def blocks(draft):
    """The listings of the draft that name a configuration."""
    parts = draft.split("~~~\n")
    titled = ((re.match(r'\{: title="Configuration: ([\w-]+)"\}', behind), text) for text, behind in zip(parts[1::2], parts[2::2]))
    return {title.group(1): text for title, text in titled if title}


def text_of(marked):
    """Without the beginnings and ends of Python's texts; a backslash before a new line is one in the draft."""
    lines = [line for line in marked.split("\n") if not re.fullmatch(r'(\w+ = )?"""', line.strip())]
    return textwrap.dedent("\n".join(lines)).replace("\\\\", "\\").strip()


def main():
    with open(os.path.join(HERE, "../../docs/draft-skex-integration.md")) as file:
        shown = blocks(file.read())
    seen, wrong = set(), []
    for name in sorted(os.listdir(HERE)):
        if not name.endswith(".py") or name == os.path.basename(__file__):
            continue
        with open(os.path.join(HERE, name)) as file:
            for label, text in MARKED.findall(file.read()):
                seen.add(label)
                if label in shown and text_of(text) != textwrap.dedent(shown[label]).strip():
                    wrong.append(f"{name}: the configuration {label} is another than that in the draft")
    wrong += [f"the draft shows the configuration {label}, which no test runs" for label in sorted(set(shown) - seen)]
    wrong += [f"the draft does not show the configuration {label}, which a test runs" for label in sorted(seen - set(shown))]
    print("\n".join(wrong) or f"the {len(shown)} configurations of the draft are those that the tests run")
    return bool(wrong) or not shown


if __name__ == "__main__":
    sys.exit(main())
