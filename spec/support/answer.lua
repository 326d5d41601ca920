return ... + 1
