"""Microsegmentation, the deciding half: policy in words -> verdict tables. Pure.

No socket, clock, kernel or thread; times and signatures are handed in. The policy language
and its exact meaning are in docs/microsegmentation.md. By task:

Read and name a policy
    `document.parse_policy(text) -> Policy`, `document.policy_from_value(value) -> Policy`;
    both raise `problem.PolicyError` with `.problems` (path, line, message, cure), all at once.
    `canonical.digest(policy)` is the revision's name, `canonical.to_document` its plain form.
    `selector.tag_fault(key, value)` checks a workload's tags.
Move revisions
    `revision.Ledger`: draft, stage, unstage, promote, roll_back; `MoveError` when refused.
Say who is there
    `workload.Inventory(zones, workloads, remotes)`, `Workload`, `RemotePrefix`;
    `directory.group_ids(policy, workload)` are the ids to send with its routes.
Compile
    `compile.full.compile_policy(policy, inventory, books) -> Compiled` from scratch;
    `compile.incremental.IncrementalCompiler(policy, inventory, books)` with `.change(put, drop)`
    -> `TablesDelta`, and `.tables`; `.begun(...)` with `.advance(most)` in slices. The values are
    in `model.verdict_tables`, whose docstring is the contract with pe/policy. `IdAllocators` keep
    numbers stable between compilations.
Ask
    `reader.Reader(tables).verdict(zone, source, destination, packet) -> Verdict` as the kernel
    would; `reference.evaluate(policy, inventory, ...) -> Decision`, the plain meaning;
    `explain.explain(...) -> Explanation`; `lint.warnings(compiled, inventory)`.
Judge a change
    `whatif.what_if(before, after, flows) -> WhatIf` (flows, pairs, narrows, broken);
    `observed.forbidden(reader, flows)`: established flows to end;
    `recommend.recommend(compiled, inventory, flows) -> Advice`.
"""
