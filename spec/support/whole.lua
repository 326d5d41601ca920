-- Turns that are whole: for specs of who runs when. However long this thread stands
-- still, no fiber of the spec's own program is suspended where it does not wait.
local core = require "atoll.core.testing"

local M = {}

function M.begin() core.suspend_never(true) end

function M.over() core.suspend_never(false) end

return M
