"""Questions of the paper's readers, answered by runs: plans as data, their runs, intervals, pictures and a page."""
