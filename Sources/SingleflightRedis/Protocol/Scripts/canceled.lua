-- `canceled(kept)`: the reason, if a stored outcome is a cancellation, for a leader that comes after it.
local function canceled(kept)
  if kept and string.sub(kept, 1, 1) == 'c' then return string.sub(kept, 2) end
end
