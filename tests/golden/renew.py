"""Writes the golden rulesets anew; the difference is for reading before it is committed."""

from tests.golden.test_ruleset import CASES, HERE, text

if __name__ == "__main__":
    for case in CASES:
        (HERE / f"{case}.nft").write_text(text(case))
