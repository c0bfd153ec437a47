"""BGP: Adj-RIBs, the decision process, import and export checks."""
