-- Why an expired flight ends.
local function lapse(lease)
  if lease.attempt > 0 then return 'exhausted' end
  return 'expired'
end
