"""BGP as this node decides by it: Adj-RIBs, best path, what a peer may send and is told."""
