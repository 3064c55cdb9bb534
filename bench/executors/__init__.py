"""Where rows run: in this process, in a process per GPU, or on other machines through an existing engine."""
