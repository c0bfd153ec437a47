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
    `workload.Inventory(zones, workloads, remotes, known_groups)`, `Workload`, `RemotePrefix`;
    `directory.group_ids(policy, workload)` are the ids to send with its routes.
Compile
    `compile.compile_policy(policy, inventory, books) -> Compiled` from scratch;
    `incremental.IncrementalCompiler(policy, inventory, books)` with `.put(claimant)`,
    `.drop(key)` -> `Delta`, and `.tables`; `tables.diff(old, new) -> Delta`.
    `compile.Books` keeps numbers stable between compilations: hand the same one in.
    `tables.Tables` are the kernel's maps; its module docstring is the contract with pe/render.
    `verdict.Verdict.word` is a verdict as the 32 bits of a map value.
Ask
    `tables.Reader(tables).verdict(zone, source, destination, packet) -> Verdict` as the kernel
    would; `reference.evaluate(policy, inventory, ...) -> Decision`, the plain meaning;
    `explain.explain(...) -> Explanation`; `lint.warnings(compiled, inventory)`.
Judge a change
    `whatif.what_if(before, after, flows) -> WhatIf` (flows, pairs, narrows, broken);
    `observed.forbidden(reader, flows)`: established flows to end;
    `recommend.recommend(compiled, inventory, flows) -> Advice`.
"""
